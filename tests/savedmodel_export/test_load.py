"""A server while it changes versions, and under load; see tests/serving.py."""

import io
import itertools
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import serving
from nano import SHALLOW
from PIL import Image

import gcvit_keras
from gcvit_export import (
    InvalidImageError,
    InvalidRequestError,
    ModelNotFoundError,
    ServingClient,
    export_saved_model,
)

CLIENTS = 16
REQUESTS = 1000

GROWTH = 32 * 2**20
"""Bytes that a server may come to hold more, of some 700 MiB."""


def clients(server, model, count, **options):
    """Clients of both protocols, in turn."""
    ports = itertools.cycle([("grpc", server.grpc), ("rest", server.rest)])
    return [
        ServingClient(address, model, protocol=protocol, **options)
        for _, (protocol, address) in zip(range(count), ports, strict=False)
    ]


def is_served(client, version):
    try:
        states = {s.version: s.state for s in client.status()}
    except ModelNotFoundError:
        return False
    return states.get(version) == "AVAILABLE"


def wait_until(condition, *arguments):
    deadline = time.monotonic() + 60
    while not condition(*arguments):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def encoded(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def is_right(answer, scores):
    best = np.argsort(-scores)[:5]
    return answer.classes == tuple(best) and np.allclose(
        answer.scores, scores[best], atol=1e-5
    )


def test_a_new_version_fails_and_mixes_no_request(server, exported):
    """Of 16 clients, each of whose calls takes several requests."""
    folder = server.folder / "swap"
    for old in folder.iterdir():
        shutil.rmtree(old)
    serving.publish(exported[1], folder / "1")
    asking = clients(server, "swap", CLIENTS, batch_size=1)
    wait_until(is_served, asking[0], 1)

    keras.utils.set_random_seed(1)
    second = gcvit_keras.GCViT(**SHALLOW)
    shape = (2, 64, 64, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    files = [encoded(image) for image in pixels]
    right = [np.asarray(model(pixels)) for model in (exported[0], second)]
    answers, stop = [], threading.Event()

    def ask(client):
        while not stop.wait(0.1):  # leaves the exporter some of the processor
            answers.append(client.classify(files))

    if isinstance(server, serving.Loopback):
        # All clients are between two requests of a call when versions change.
        server.test(pause=0.5)

    with ThreadPoolExecutor(CLIENTS) as threads:
        asked = [threads.submit(ask, client) for client in asking]
        try:
            export_saved_model(second, folder, verify=False)
            wait_until(is_served, asking[0], 2)
            time.sleep(1.5)
        finally:
            stop.set()
            if isinstance(server, serving.Loopback):
                server.test(pause=0.0)
    for done in asked:
        done.result()  # raises what the client raised
    seen = set()
    for answer in answers:
        (version,) = (
            version
            for version, scores in enumerate(right, 1)
            if all(map(is_right, answer, scores))
        )
        seen.add(version)
    assert seen == {1, 2}
    assert not is_served(asking[0], 1)


def bomb():
    """A PNG of 50 KB and 1.2 GB once decoded."""
    content = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(content, "PNG")
    return content.getvalue()


def test_mixed_requests_are_answered_rightly_in_flat_memory(loopback, exported):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    dot = np.full((1, 1, 3), 200, "uint8")
    grown = np.broadcast_to(dot, (1, 64, 64, 3))
    scores = np.asarray(exported[0](np.concatenate([pixels, grown])))
    files = [encoded(image) for image in pixels]
    broken = encoded(pixels[0], "JPEG")
    broken = broken[: len(broken) // 2]
    large = bomb()

    def good_pixels(client):
        found = client.predict(pixels[:1])
        np.testing.assert_allclose(found, scores[:1], atol=1e-5)

    def good_files(client):
        assert all(map(is_right, client.classify(files), scores[:2]))

    def one_pixel(client):
        assert is_right(client.classify([encoded(dot)])[0], scores[2])

    def beside_a_good_one(bad):
        def ask(client):
            broken, good = client.classify([bad, files[1]])
            assert isinstance(broken.error, InvalidImageError)
            assert is_right(good, scores[1])

        return ask

    def refused(error, images):
        def ask(client):
            with pytest.raises(error):
                client.predict(images)

        return ask

    kinds = [
        good_pixels,
        good_files,
        one_pixel,
        beside_a_good_one(b"text"),
        beside_a_good_one(broken),
        beside_a_good_one(large),
        refused(InvalidRequestError, dot[None]),
        refused(ValueError, np.full((1, 64, 64, 3), "text")),
        refused(ValueError, pixels[0]),
        refused(ValueError, pixels[:0]),
    ]
    asking = clients(loopback, "gcvit", 4)
    requests = [kinds[i % len(kinds)] for i in range(REQUESTS)]
    random.Random(0).shuffle(requests)
    memory = []
    with ThreadPoolExecutor(4) as threads:
        for part in np.array_split(np.arange(REQUESTS), 4):
            done = [threads.submit(requests[i], asking[i % 4]) for i in part]
            for one in done:
                one.result()
            memory.append(loopback.seen()["rss"])
    # The first quarter is the warm-up.
    assert memory[-1] < memory[0] + GROWTH, memory
