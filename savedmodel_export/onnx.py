"""ONNX files, by Keras's own exporter."""

import contextlib
import importlib.util
import math
from pathlib import Path

import keras
import numpy as np
from keras import ops

from gcvit_export.paths import file_path
from gcvit_export.served import served_network
from gcvit_export.verification import verified_file
from gcvit_keras.layers.composite import CompositeLayer


def export_onnx(model, path, *, images=None, verify=True) -> Path:
    """Converts a model to a float32 ONNX file.

    Needs `pip install "gcvit-keras[onnx]"`. The file is verified in
    `onnxruntime` before it is put in its place, with
    `NAME.onnx.verification.json` beside it.

    Args:
        model: A classifier of this library with a fixed input size. Logits
            get a softmax.
        path: Path of the file, ending in `.onnx`; replaced if it is there,
            once the new one is whole.
        images: What to verify on, array `(images, height, width, channels)`,
            pixels in [0, 255]. Default: photographs.
        verify: Whether to run the file in a process of its own and compare
            it with the model.

    Returns:
        `pathlib.Path` of the file. Input `images`: float32
        `(batch, height, width, channels)` with pixels in [0, 255], the batch
        dynamic. Output `probabilities`: float32 `(batch, classes)`.

    Raises:
        ValueError: If `path` does not end in `.onnx`, a package is missing,
            or the model's height or width is dynamic.
        VerificationError: If the file does not compute what the model does;
            nothing of it is written.
    """
    path = file_path(path, ".onnx")
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"ONNX needs {package}, which is not installed: "
                'pip install "gcvit-keras[onnx]"'
            )
    network = served_network(model)
    if None in network.input_shape[1:]:
        raise ValueError(
            "ONNX needs a fixed input size: build the model with "
            "`input_shape=(height, width, channels)`. "
            f"Received: a model of input shape {network.input_shape[1:]}"
        )
    signature = keras.InputSpec(
        shape=(None, *network.input_shape[1:]), dtype="float32", name="images"
    )
    # Random augmentation that is part of a model is for training only.
    images_in = keras.Input(network.input_shape[1:])
    served = keras.Model(images_in, network(images_in, training=False))
    with verified_file(path, network, images, verify) as beside:
        with _convertible(served):
            served.export(
                str(beside),
                format="onnx",
                verbose=False,
                input_signature=[signature],
            )
    return path


@contextlib.contextmanager
def _convertible(network):
    """Works around what tf2onnx 1.17 cannot convert.

    It does not know TensorFlow's erfc, so the exact GELU is computed by erf;
    and tensors that are no variables, as Keras's Normalization has them,
    become inputs of the file, so they are numpy's meanwhile.
    """
    changed = []
    for layer in network._flatten_layers():
        if isinstance(layer, CompositeLayer):
            changed.append((layer, dict(vars(layer))))
            layer.gelu = lambda x: 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))
        elif isinstance(layer, keras.layers.Normalization):
            changed.append((layer, dict(vars(layer))))
            layer.mean = np.asarray(layer.mean)
            layer.variance = np.asarray(layer.variance)
    try:
        yield
    finally:
        for layer, before in changed:
            vars(layer).clear()
            vars(layer).update(before)
