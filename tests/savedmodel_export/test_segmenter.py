"""Segmenters as SavedModel, LiteRT and ONNX files."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import serving
import tensorflow as tf
from PIL import Image

import gcvit_export.kinds.segmenter as kind
from gcvit_export import (
    InvalidImageError,
    ServingClient,
    VerificationError,
    export_litert,
    export_onnx,
    export_saved_model,
    export_serving,
    verify,
)
from gcvit_export.runner import Artifact
from gcvit_keras.segmentation import SegmentationReader

sys.path.append(str(Path(__file__).parent.parent / "segmentation"))
from segmenters import small  # noqa: E402

LABELS = ["sky", "sea", "sand", "sun"]
READER = SegmentationReader(64, 160)


@pytest.fixture(scope="module")
def model():
    """A segmenter whose classes differ from pixel to pixel."""
    model = small(4)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        shape = variable.shape
        fan = np.prod(shape[:-1]) if len(shape) > 1 else 10
        noise = 0.5 * random.normal(size=shape) / np.sqrt(fan)
        variable.assign(variable + noise.astype("float32"))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    return export_serving(
        model,
        folder,
        LABELS,
        name="gcvit",
        batch_sizes=[1],
        image_reader=READER,
    )


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported))
    yield loaded.signatures
    del loaded


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_an_export_is_verified_with_its_class_maps(exported):
    found = json.loads((exported / "verification.json").read_text())
    assert found["reads_files"] and found["difference"] < 1e-5
    labels = (exported / "assets" / "labels.txt").read_text().split()
    assert labels == LABELS
    assert SegmentationReader.of(exported) == READER


def test_pixels_of_any_size_give_logits(model, signatures):
    for size in ((64, 96), (50, 75)):
        images = 255 * np.random.default_rng(1).random((2, *size, 3), "float32")
        found = signatures["serve_images"](images=tf.constant(images))
        np.testing.assert_allclose(found["logits"], model(images), atol=1e-4)


def test_files_give_class_maps_of_their_own_size(model, signatures):
    random = np.random.default_rng(2)
    pictures = []
    for size in ((100, 80), (40, 90)):
        small_one = random.integers(0, 255, (5, 6, 3)).astype("uint8")
        image = Image.fromarray(small_one).resize(size[::-1])
        pictures.append(np.array(image))
    contents = [png(pictures[0]), b"no image", png(pictures[1])]
    found = signatures["serve_bytes"](image_bytes=tf.constant(contents))
    assert found["valid"].numpy().tolist() == [True, False, True]
    assert found["sizes"].numpy().tolist() == [[100, 80], [0, 0], [40, 90]]
    assert found["class_png_bytes"].numpy()[1] == b""
    expected = model.segment(pictures, short_side=64, long_side=160)
    assert len(np.unique(expected[0])) > 1
    for row, classes in zip((0, 2), expected, strict=True):
        content = found["class_png_bytes"].numpy()[row]
        map_ = np.array(Image.open(io.BytesIO(content)))
        assert map_.shape == classes.shape
        assert (map_ == classes).mean() > 0.999


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Files of images of 50 x 70 pixels, verified, by suffix."""
    folder = tmp_path_factory.mktemp("files")
    how = {"labels": LABELS, "image_size": (50, 70)}
    return {
        ".tflite": export_litert(model, folder / "model.tflite", **how),
        ".onnx": export_onnx(model, folder / "model.onnx", **how),
    }


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_files_of_a_fixed_size_compute_the_same(model, files, suffix):
    artifact = Artifact(files[suffix])
    assert artifact.shape == (50, 70, 3)
    images = 255 * np.random.default_rng(3).random((1, 50, 70, 3), "float32")
    np.testing.assert_allclose(
        artifact(images)["logits"], model(images), atol=1e-3
    )


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    for name in serving.MODELS:
        (base / name).mkdir()
    shutil.copytree(exported, base / "gcvit" / "1")
    with serving.start(base) as loopback:
        yield loopback


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_segments_files(model, server, protocol):
    picture = np.random.default_rng(3).integers(0, 255, (48, 60, 3), "uint8")
    address = getattr(server, protocol)
    with ServingClient(address, protocol=protocol) as client:
        answer, broken = client.segment([png(picture), b"no image"])
    assert isinstance(broken.error, InvalidImageError)
    (expected,) = model.segment([picture], short_side=64, long_side=160)
    assert answer.error is None and answer.classes.shape == (48, 60)
    assert (answer.classes == expected).mean() > 0.999


def test_another_model_is_found_out(files):
    other = small(4)
    with pytest.raises(VerificationError, match="differs from the model"):
        verify(files[".tflite"], other)


def test_class_maps_that_differ_are_found_out(model, exported, monkeypatch):
    monkeypatch.setattr(kind, "LEAST_AGREEMENT", 1.1)
    with pytest.raises(VerificationError, match="serve_bytes has the model's"):
        verify(exported, model)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"activation": "softmax"}, "must be 'auto' for a segmenter"),
        ({"image_reader": 3}, "a gcvit_keras.segmentation.SegmentationReader"),
    ],
)
def test_what_does_not_go_with_a_segmenter_is_refused(
    model, tmp_path, arguments, words
):
    with pytest.raises(ValueError, match=words):
        export_saved_model(model, tmp_path / "out", **arguments)


def test_a_segmenter_of_a_fixed_size_is_served_pixels_only(tmp_path):
    model = small(4, backbone={"input_shape": (32, 64, 3)})
    version = export_saved_model(model, tmp_path / "saved", verify=False)
    artifact = Artifact(version)
    assert artifact.shape == (32, 64, 3)
    assert "serve_bytes" not in artifact.signatures
    path = export_litert(model, tmp_path / "model.tflite", verify=False)
    assert Artifact(path).shape == (32, 64, 3)


def test_a_file_of_a_fixed_size_needs_one(model, tmp_path):
    with pytest.raises(ValueError, match="`image_size` must be"):
        export_litert(model, tmp_path / "model.tflite")
