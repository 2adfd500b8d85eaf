"""LiteRT (TFLite) files for phones and small machines."""

import tempfile
from pathlib import Path

import tensorflow as tf

from savedmodel_export.atomic import replacing
from savedmodel_export.saved_model import write_saved_model


def export_litert(model, path) -> Path:
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel: converting a live function leaves variables
        # uninitialised and yields NaN.
        write_saved_model(model, folder, batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        beside.write_bytes(converter.convert())
    return path
