"""ONNX files, in onnxruntime."""

import json
import sys

import numpy as np
import onnxruntime
import pytest

from gcvit_export import export_onnx
from gcvit_export.runner import open_artifact


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
    predict, shape = open_artifact(path)
    assert shape == (64, 64, 3)
    np.testing.assert_array_equal(predict(x), scores)
    found = json.loads((tmp_path / "model.onnx.verification.json").read_text())
    assert found["kind"] == "onnx" and found["difference"] <= 1e-4
    # The model's layers are as they were.
    assert model.get_layer("preprocessing").mean is mean
    assert "gelu" not in vars(model.get_layer("level_0_block_0"))


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
