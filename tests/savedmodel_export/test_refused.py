"""What of a model, or an option, cannot be exported, and says so first."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from detectors import detector

from gcvit_export import (
    VerificationError,
    export_litert,
    export_onnx,
    export_saved_model,
    litert,
    saved_model,
    verify,
)
from gcvit_keras import ImageReader
from gcvit_keras.segmentation import SegmentationReader

sys.path.append(str(Path(__file__).parent.parent / "segmentation"))
from segmenters import small  # noqa: E402

SIDE = 32


def classifier(channels=3):
    """A model of one layer: what is exported is not the point."""
    images = keras.Input((SIDE, SIDE, channels))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(2, "softmax")(mean))


@pytest.fixture
def fixed():
    """A segmenter of images of one size."""
    return small(4, backbone={"input_shape": (SIDE, SIDE, 3)})


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_detector_that_keras_quantized_is_refused(tmp_path):
    model = detector()
    dense = next(
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dense)
    )
    dense.quantize("int8")
    with pytest.raises(ValueError, match="`model` must not be quantized"):
        export_saved_model(model, tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_a_classifiers_file_is_not_that_of_a_detector(tmp_path):
    path = export_litert(classifier(), tmp_path / "m.tflite", verify=False)
    with pytest.raises(VerificationError, match="gives no boxes, scores"):
        verify(path, detector())


@pytest.mark.parametrize("write", [export_litert, export_onnx])
def test_a_size_is_a_pair(write, fixed, tmp_path):
    path = tmp_path / ("m.tflite" if write is export_litert else "m.onnx")
    for model in (classifier(), fixed):
        with pytest.raises(ValueError, match=r"`image_size` must be \(height"):
            write(model, path, image_size=SIDE)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            {"dynamic_size": True},
            "`dynamic_size` must be False for a segmenter",
        ),
        (
            {"image_reader": SegmentationReader()},
            "`image_reader` must be None: files, of any size, do not go with",
        ),
        (
            {"default_signature": "serve_bytes"},
            "cannot be 'serve_bytes': files, of any size, do not go with",
        ),
    ],
)
def test_a_segmenter_of_a_fixed_size_takes_no_files(
    fixed, tmp_path, arguments, words
):
    with pytest.raises(ValueError, match=words):
        export_saved_model(fixed, tmp_path / "saved", **arguments)


def test_a_reader_is_of_no_use_for_images_of_four_channels(tmp_path):
    reader = ImageReader(SIDE, channels=4)
    with pytest.raises(ValueError, match="None: files are not decoded to 4"):
        export_saved_model(classifier(4), tmp_path, image_reader=reader)


def test_a_grey_models_file_says_that_it_is_read_as_grey(tmp_path):
    path = export_litert(
        classifier(1),
        tmp_path / "m.tflite",
        image_reader=ImageReader(SIDE),
        verify=False,
    )
    assert ImageReader.of(path).channels == 1


def test_images_are_checked_before_the_work(tmp_path, monkeypatch):
    def work(*arguments):
        raise AssertionError("the images were not checked first")

    monkeypatch.setattr(litert, "_convert", work)
    monkeypatch.setattr(saved_model, "write_signatures", work)
    images = np.zeros((2, SIDE + 1, SIDE, 3))
    for write, path in (
        (export_litert, tmp_path / "m.tflite"),
        (export_saved_model, tmp_path / "saved"),
    ):
        with pytest.raises(ValueError, match="`images` must be pixels"):
            write(classifier(), path, images=images)
    assert not list(tmp_path.iterdir())


def test_an_activation_is_of_no_use_for_a_function(tmp_path):
    path = export_litert(classifier(), tmp_path / "m.tflite", verify=False)
    with pytest.raises(ValueError, match="`activation` must be 'auto' for a"):
        verify(path, lambda images: None, activation="softmax")
