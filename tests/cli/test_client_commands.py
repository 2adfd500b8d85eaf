"""`gcvit client`, against the server of tests/serving.py."""

import json

import numpy as np
import pytest
from command import gcvit, inside, refused
from PIL import Image


@pytest.fixture
def image(tmp_path):
    """A file, and the pixels in it as a batch of one."""
    shape = (64, 64, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    return path, pixels[None]


@pytest.fixture(params=["grpc", "rest"])
def address(request, loopback):
    options = ["--rest"] if request.param == "rest" else []
    return ["--address", getattr(loopback, request.param), *options]


def test_predict_prints_the_best_classes(address, image, exported, tmp_path):
    path, pixels = image
    arguments = ("client", "predict", path, *address, "--top", 2, "--json")
    code, output, _ = inside(*arguments, cwd=tmp_path)
    (row,) = json.loads(output)
    (scores,) = np.asarray(exported[0](pixels))
    best = np.argsort(-scores)[:2]
    assert code == 0
    assert row["image"] == str(path)
    for found, k in zip(row["classes"], best, strict=True):
        assert (found["class"], found["label"]) == (k, f"class {k}")
        assert found["score"] == pytest.approx(scores[k], abs=1e-5)


def test_predict_prints_one_line_for_each_bad_image(address, image, tmp_path):
    path, _ = image
    text = tmp_path / "text.txt"
    text.write_text("text")
    code, output, errors = inside(
        "client", "predict", text, path, "none.png", *address, cwd=tmp_path
    )
    assert code == 1
    assert output.splitlines()[0] == str(path)
    first, second = errors.splitlines()
    assert first == f"error: {text} is no image that can be decoded"
    assert second == "error: none.png cannot be read: No such file or directory"


def test_status_lists_versions(address, tmp_path):
    code, output, _ = inside("client", "status", *address, cwd=tmp_path)
    assert code == 0
    assert output.splitlines() == ["version 1  AVAILABLE"]


def test_status_as_json(address, tmp_path):
    arguments = ("client", "status", *address, "--json")
    _, output, _ = inside(*arguments, cwd=tmp_path)
    found = json.loads(output)
    (version,) = found["versions"]
    assert version == {"version": 1, "state": "AVAILABLE", "error": ""}


def test_an_unknown_model_is_one_line(address, image, tmp_path):
    arguments = ("client", "predict", image[0], *address, "--model", "other")
    line = refused(*arguments, cwd=tmp_path)
    assert line == "error: Servable not found for request: Latest(other)"


def test_an_unknown_version_is_one_line(address, image, tmp_path):
    arguments = ("client", "predict", image[0], *address, "--version", 9)
    line = refused(*arguments, cwd=tmp_path)
    assert "model gcvit has no version 9" in line


@pytest.mark.parametrize("protocol", [[], ["--rest"]])
def test_nobody_there_is_said_at_once(protocol, image, tmp_path):
    """In one line, and before TensorFlow is imported, which takes seconds."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('imported')")
    address = ("--address", "127.0.0.1:1", *protocol)
    code, output, errors = gcvit(
        *("client", "predict", image[0], *address),
        cwd=tmp_path,
        PYTHONPATH=tmp_path,
    )
    assert (code, output) == (1, "")
    expected = "error: 127.0.0.1:1 cannot be reached: Connection refused\n"
    assert errors == expected


@pytest.mark.parametrize("by", ["file", "environment"])
def test_a_token_needs_tls(image, tmp_path, by):
    """So it was read, wherever it came from."""
    file = tmp_path / "token"
    file.write_text("secret\n")
    options = ["--token-file", file] if by == "file" else []
    environment = {"GCVIT_TOKEN": "secret"} if by == "environment" else {}
    line = refused(
        "client",
        "predict",
        image[0],
        "--address",
        "127.0.0.1:1",
        *options,
        cwd=tmp_path,
        code=2,
        **environment,
    )
    source = "--token-file" if by == "file" else "GCVIT_TOKEN"
    assert line.startswith(f"error: {source} needs --tls")
