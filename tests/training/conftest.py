"""Fixtures of several files of training's tests."""

import io

import numpy as np
import pytest
from PIL import Image

from gcvit_training.tasks.classification.sources import open_source


@pytest.fixture
def photos(tmp_path):
    """Sixteen images of two classes; two cannot be read."""
    rng = np.random.default_rng(0)
    for i in range(16):
        folder = tmp_path / "photos" / "train" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 60, 3), "uint8")
        kind = "PNG" if i % 4 < 2 else "JPEG"
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        data = file.getvalue()
        if i in (5, 10):
            data = data[: len(data) // 2]
        (folder / f"{i:02d}.{kind.lower()}").write_bytes(data)
    return open_source(str(tmp_path / "photos"))
