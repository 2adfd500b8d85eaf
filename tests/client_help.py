"""What tests of the client share."""

import io
import time

import numpy as np
from PIL import Image

from gcvit_export import ModelNotFoundError

NOWHERE = "127.0.0.1:1"
"""Where nobody answers: what fails otherwise than that was not sent."""


def encoded(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(content, kind)
    return content.getvalue()


def assert_right(answer, scores):
    best = np.argsort(-scores)[:5]
    assert answer.error is None
    assert answer.classes == tuple(best)
    assert answer.labels == tuple(f"class {k}" for k in best)
    np.testing.assert_allclose(answer.scores, scores[best], atol=1e-5)


def await_version(client, version, state="AVAILABLE"):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            states = {s.version: s for s in client.status()}
            if states[version].state in (state, "END"):
                assert states[version].state == state, states[version].error
                return states[version]
        except (ModelNotFoundError, KeyError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"version {version} never is {state}")
