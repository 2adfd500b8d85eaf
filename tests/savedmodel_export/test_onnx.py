"""ONNX files, in onnxruntime."""

import json
import sys

import keras
import numpy as np
import onnxruntime
import pytest
from nano import SHALLOW

from gcvit_export import export_onnx
from gcvit_export.onnx import convertible
from gcvit_export.runner import Artifact
from gcvit_keras import ImageReader


def test_a_file_computes_what_the_model_does(nano, images, tmp_path):
    model = nano(input_shape=(64, 64, 3), layer_scale=0.1)
    mean = model.get_layer("preprocessing").mean
    path = export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path))
    ((name, shape),) = [(i.name, i.shape) for i in session.get_inputs()]
    assert name == "images" and shape[1:] == [64, 64, 3]
    (output,) = session.get_outputs()
    assert output.name == "probabilities" and output.shape[1] == 10
    for batch in (1, 3):
        x = images(batch, 64, 64, 3)
        (scores,) = session.run(None, {"images": x})
        np.testing.assert_allclose(scores, model(x), atol=1e-5)
    artifact = Artifact(path)
    assert artifact.shape == (64, 64, 3)
    np.testing.assert_array_equal(artifact.scores(x), scores)
    found = json.loads((tmp_path / "model.onnx.verification.json").read_text())
    assert found["kind"] == "onnx" and found["difference"] <= 1e-4
    # The model's layers are as they were.
    assert model.get_layer("preprocessing").mean is mean


def with_gelu():
    entry = keras.Input((32, 32, 3))
    x = keras.layers.Normalization(mean=[90, 99, 110], variance=[9, 25, 16])(
        entry
    )
    x = keras.layers.Dense(7, "gelu")(keras.layers.GlobalAveragePooling2D()(x))
    x = keras.layers.Activation("gelu")(keras.layers.Dense(5)(x))
    return keras.Model(entry, keras.layers.Dense(4, "softmax")(x))


def test_gelu_of_keras_in_a_head(images, tmp_path):
    model = with_gelu()
    x = np.round(images(3, 32, 32, 3))
    path = export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(["probabilities"], {"images": x})
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-5)


def test_keras_exports_what_is_made_convertible(images, tmp_path):
    """By itself it writes a file that ONNX Runtime refuses."""
    model = with_gelu()
    x = np.round(images(3, 32, 32, 3))
    expected = model.predict(x, verbose=0)
    with convertible(model):
        path = str(tmp_path / "keras.onnx")
        model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (entry,) = session.get_inputs()
    (found,) = session.run(None, {entry.name: x})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_and_reading_are_in_the_metadata(nano, tmp_path):
    labels = [f"digit {k}" for k in range(10)]
    reader = ImageReader(64, crop_ratio=0.9)
    path = export_onnx(
        nano(**SHALLOW),
        tmp_path / "m.onnx",
        labels=labels,
        image_reader=reader,
        verify=False,
    )
    session = onnxruntime.InferenceSession(str(path))
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["labels"]) == labels
    assert ImageReader.from_dict(json.loads(found["image_reader"])) == reader
    assert json.loads(found["mean"]) == [0, 0, 0]
    assert json.loads(found["std"]) == [1, 1, 1]


def test_what_cannot_be_is_refused(nano, tmp_path, monkeypatch):
    model = nano(input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="`path`.*ends in .onnx.*m.bin"):
        export_onnx(model, tmp_path / "m.bin")
    with pytest.raises(ValueError, match="ONNX needs a fixed input size"):
        export_onnx(nano(input_shape=(None, None, 3)), tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ValueError, match=r"gcvit-keras\[onnx\]"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
