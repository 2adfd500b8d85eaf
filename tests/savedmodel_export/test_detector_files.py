"""Detectors as LiteRT and ONNX files, of images of a fixed size."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from detectors import detector
from tflite_tables import follow, text, tflite_metadata, vector

from gcvit_export import export_litert, export_onnx
from gcvit_export.runner import Artifact
from gcvit_export.samples import photographs
from gcvit_keras.detection import nms

SIZE = (96, 128)
LABELS = ["cat", "dog", "zebra"]


def export(suffix, model, folder, **how):
    write = {"tflite": export_litert, "onnx": export_onnx}[suffix]
    return write(model, folder / f"model.{suffix}", image_size=SIZE, **how)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return detector()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_file_finds_what_the_model_finds(suffix, model, tmp_path):
    if suffix == "onnx":
        pytest.importorskip("tf2onnx")
    path = export(suffix, model, tmp_path, labels=LABELS)
    assert path.verification.kind.endswith(" detections")
    assert path.verification.agreement == 1
    images = photographs(*SIZE, count=2)
    artifact = Artifact(path)
    assert artifact.shape == (*SIZE, 3)
    found, expected = artifact(images), model(images)
    assert set(found) == set(expected)
    for name, tolerance in (("scores", 1e-4), ("boxes", 0.05), ("masks", 1e-2)):
        np.testing.assert_allclose(
            found[name], expected[name], atol=tolerance, err_msg=name
        )
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_array_equal(found["count"], expected["count"])


@pytest.mark.slow
def test_boxes_of_many_classes_are_kept_in_onnx(model, tmp_path, monkeypatch):
    """As with COCO's 80: too many to compare all pairs of."""
    pytest.importorskip("tf2onnx")
    monkeypatch.setattr(nms, "PAIRS_LIMIT", 9)
    path = export("onnx", model, tmp_path)
    assert path.verification.agreement == 1


@pytest.mark.slow
def test_labels_are_those_of_the_classes(model, tmp_path):
    path = export("tflite", model, tmp_path, labels=LABELS, verify=False)
    outputs = vector(follow(tflite_metadata(path), 3, 0), 3)
    labelled = {text(o, 0): bool(o.Offset(4 + 2 * 6)) for o in outputs}
    assert labelled == {
        "boxes": False,
        "scores": False,
        "classes": True,
        "masks": False,
        "count": False,
    }
    names = Interpreter(str(path)).get_output_details()
    shapes = [len(one["shape"]) for one in names]
    expected = {"boxes": 3, "scores": 2, "classes": 2, "masks": 4, "count": 1}
    assert [expected[name] for name in labelled] == shapes


def test_a_detector_needs_a_size_and_float32(model, tmp_path):
    with pytest.raises(ValueError, match="`image_size` must be"):
        export_litert(model, tmp_path / "model.tflite")
    with pytest.raises(ValueError, match="`image_size` must be"):
        export_litert(model, tmp_path / "model.tflite", image_size=96)
    with pytest.raises(ValueError, match="`quantize` must be None"):
        export("tflite", model, tmp_path, quantize="float16")
    assert not list(tmp_path.iterdir())
