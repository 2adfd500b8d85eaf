"""LiteRT (TFLite) files for phones and small machines."""

import os
import tempfile
from pathlib import Path

import tensorflow as tf

from savedmodel_export.saved_model import write_saved_model


def export_litert(model, path):
    """Converts a model to a float32 LiteRT file of builtin operations.

    Args:
        model: A classifier of this library with a fixed input size.
        path: Path of the file, ending in `.tflite`; replaced if it is there,
            once the new one is whole.

    Returns:
        `pathlib.Path` of the file. Input: float32
        `(1, height, width, channels)` with pixels in [0, 255]. Output:
        float32 `(1, classes)`, probabilities.

    Raises:
        ValueError: If `path` does not end in `.tflite`, or the model's
            height or width is dynamic.
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"`path` must end in .tflite. Received: path={path}")
    if None in model.input_shape[1:]:
        raise ValueError(
            "LiteRT needs a fixed input size: build the model with "
            "`input_shape=(height, width, channels)`. "
            f"Received: a model of input shape {model.input_shape[1:]}"
        )
    with tempfile.TemporaryDirectory() as directory:
        # Through a SavedModel: converting a live function leaves variables
        # uninitialised and yields NaN.
        write_saved_model(model, directory, batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path
