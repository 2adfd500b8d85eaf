"""Verification: what it says, and what it lets pass."""

import json
import shutil

import keras
import numpy as np
import pytest
from nano import SHALLOW, SMALL

import gcvit_export.litert as litert
import gcvit_export.verification as verification
import gcvit_keras
from gcvit_export import (
    VerificationError,
    export_litert,
    export_onnx,
    export_saved_model,
    verify,
)
from gcvit_export.samples import photographs
from gcvit_keras.images import graph


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**SHALLOW)


@pytest.fixture(scope="module")
def plain():
    """A model of one layer, where what is exported is not the point."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(3, "softmax")(x))


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    return export_saved_model(
        model,
        tmp_path_factory.mktemp("verified"),
        image_reader=gcvit_keras.ImageReader(64, crop_ratio=0.9),
    )


def test_an_export_is_verified_and_says_what_was_seen(version, model):
    found = json.loads((version / "verification.json").read_text())
    assert found["kind"] == "savedmodel"
    assert found["images"] == 8
    assert found["agreement"] == 1
    assert found["difference"] <= found["tolerance"] == 1e-5
    assert found["snr_db"] > 90
    assert found["milliseconds"] > 0
    assert found["size"] > 4 * model.count_params()
    assert found["reads_files"] is True
    assert found["keras"] == keras.__version__


def test_the_signal_to_noise_ratio_is_of_the_logits(model, tmp_path):
    """Against a model that is known to be off in the logit of a class."""
    path = export_litert(model, tmp_path / "model.tflite", verify=False)
    kernel, bias = model.get_layer("predictions").get_weights()
    images = photographs(64, 64, count=4)
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    logits = np.asarray(pooled(images), "float64") @ kernel + bias

    def off(_):
        bad = logits + np.eye(10)[3] * 1e-4
        return np.exp(bad) / np.exp(bad).sum(-1, keepdims=True)

    seen = verify(path, off, images)
    signal = logits - logits.mean(-1, keepdims=True)
    noise = np.eye(10)[3] * 1e-4
    noise = np.broadcast_to(noise - noise.mean(), signal.shape)
    expected = 10 * np.log10((signal**2).sum() / (noise**2).sum())
    assert abs(seen.snr_db - expected) < 0.2


def test_serve_bytes_is_verified_too(plain, tmp_path, monkeypatch):
    def flipped(*arguments, original=graph.resize_and_crop):
        return original(*arguments)[::-1]

    monkeypatch.setattr(graph, "resize_and_crop", flipped)
    with pytest.raises(VerificationError, match="serve_bytes differs"):
        export_saved_model(plain, tmp_path / "models")
    assert not list(tmp_path.iterdir())


def test_an_export_beyond_the_tolerance_leaves_what_was_there(
    plain, tmp_path, monkeypatch
):
    path = tmp_path / "model.tflite"
    path.write_text("precious")
    keras.utils.set_random_seed(1)
    other = keras.models.clone_model(plain)
    convert = litert._convert
    monkeypatch.setattr(
        litert,
        "_convert",
        lambda model, *rest: convert(litert.served(other), *rest),
    )
    with pytest.raises(VerificationError, match="differs from the model by"):
        export_litert(plain, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    assert path.read_text() == "precious"


def test_a_report_is_of_the_file_that_is_there(plain, tmp_path):
    path = tmp_path / "model.tflite"
    report = tmp_path / "model.tflite.verification.json"
    export_litert(plain, path)
    assert json.loads(report.read_text())["kind"] == "litert float32"
    export_onnx(plain, tmp_path / "model.onnx")
    assert json.loads(report.read_text())["kind"] == "litert float32"
    export_litert(plain, path, "float16", verify=False)
    assert not report.exists()


def test_what_is_no_export_is_refused(model, tmp_path):
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="`artifact` must be.*model.keras"):
        verify(tmp_path / "model.keras", model)


def test_a_changed_saved_model_is_said_to_be(version, model, tmp_path):
    copy = shutil.copytree(version, tmp_path / "1")
    labels = copy / "assets" / "labels.txt"
    labels.write_text("a\nb\n")
    with pytest.raises(VerificationError, match="2 labels for 10 classes"):
        verify(copy, model)
    reader = copy / "assets" / "image_reader.json"
    for text in ("{", "[]", "{}"):
        reader.write_text(text)
        with pytest.raises(ValueError, match="image_reader.json cannot be"):
            verify(copy, model)


def test_a_process_that_hangs_is_given_up(version, model, monkeypatch):
    monkeypatch.setattr(verification, "LONGEST_RUN", 0.2)
    with pytest.raises(VerificationError, match="has not run in 0.2 seconds"):
        verify(version, model)


def test_int8_that_has_lost_the_signal_does_not_pass(model, tmp_path):
    # Ranges found from black images are of no use for others.
    calibration = np.zeros((16, 64, 64, 3))
    with pytest.raises(VerificationError, match="signal-to-noise ratio of"):
        export_litert(model, tmp_path / "m.tflite", "int8", calibration)
    assert not list(tmp_path.iterdir())


def test_int8_must_agree_on_images_that_are_given(nano, tmp_path):
    model = nano(**SMALL)
    path = export_litert(
        model,
        tmp_path / "m.tflite",
        "int8",
        photographs(64, 64, count=24),
        verify=False,
    )
    # Random weights: the best classes are close, and int8 confuses them.
    images = photographs(64, 64, count=40)
    with pytest.raises(VerificationError, match="top class on .*97%"):
        verify(path, model, images)
    assert verify(path, model).snr_db > 10


def test_another_number_of_classes_does_not_pass(plain, tmp_path):
    path = export_litert(plain, tmp_path / "m.tflite", verify=False)
    features = plain.layers[-2].output
    other = keras.Model(plain.input, keras.layers.Dense(4, "softmax")(features))
    with pytest.raises(VerificationError, match=r"\(8, 3\), the model \(8, 4"):
        verify(path, other)


@pytest.mark.parametrize(
    "images, words",
    [
        (np.zeros((2, 32, 32, 3)), r"float64 of shape \(2, 32, 32, 3\)"),
        (np.zeros((0, 64, 64, 3)), r"float64 of shape \(0, 64, 64, 3\)"),
        (np.zeros((64, 64, 3)), r"float64 of shape \(64, 64, 3\)"),
        (np.full((1, 64, 64, 3), np.nan), r"float64 .* from nan to nan"),
        (np.full((1, 64, 64, 3), 255.5), r"float64 .* from 255.5 to 255.5"),
        (np.full((1, 64, 64, 3), "a"), "Received: an array of <U1"),
    ],
)
def test_images_that_are_none_are_refused(version, model, images, words):
    with pytest.raises(ValueError, match=f"`images` must be pixels.*{words}"):
        verify(version, model, images)
