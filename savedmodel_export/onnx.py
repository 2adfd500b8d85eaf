"""ONNX files, by Keras's own exporter."""

import contextlib
import importlib.util
from pathlib import Path

import keras
import numpy as np

from gcvit_export.kinds.base import AUTO, is_quantized
from gcvit_export.labels import check_labels
from gcvit_export.metadata import onnx_properties
from gcvit_export.paths import file_path
from gcvit_export.served import served
from gcvit_export.verification import written
from gcvit_keras.layers.composite import TURN, replaced


def export_onnx(
    model,
    path,
    *,
    labels=None,
    activation=AUTO,
    image_size=None,
    image_reader=None,
    images=None,
    verify=True,
) -> Path:
    """Converts a model to a float32 ONNX file.

    Needs `pip install "gcvit-keras[onnx]"`. The file is verified in
    `onnxruntime` before it is put in its place, with
    `NAME.onnx.verification.json` beside it. Its `metadata_props` hold
    `labels` and `image_reader` as JSON.

    Args:
        model: Functional or Sequential model of images of a fixed size, a
            detector, or a segmenter.
        path: Path of the file, ending in `.onnx`; replaced if it is there,
            once the new one is whole.
        labels: Names of the classes, in order, for its metadata.
        activation: See `export_saved_model`.
        image_size: Of a detector, or a segmenter of any size,
            `(height, width)` of the images.
        image_reader: `gcvit_keras.ImageReader`, for its metadata. Default:
            one of the model's size; of a detector or a segmenter one that
            stretches images to it.
        images: See `export_saved_model`.
        verify: Whether to run the file in a process of its own and compare
            it with the model.

    Returns:
        `pathlib.Path` of the file. Input `images`: float32
        `(batch, height, width, channels)` with pixels in [0, 255], the batch
        dynamic, but 1 of a detector. Outputs as `serve_images` of
        `export_saved_model` has them.

    Raises:
        ValueError: If `path` does not end in `.onnx`, a package is missing,
            the model's height or width is dynamic, or nothing tells the
            activation.
        VerificationError: If the file does not compute what the model does;
            nothing of it is written.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_onnx
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> file = export_onnx(model, "model.onnx", labels=["cat", "dog"])
    >>> print(file.name, file.verification.kind)
    model.onnx onnx
    """
    path = file_path(path, ".onnx")
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"ONNX needs {package}, which is not installed: "
                'pip install "gcvit-keras[onnx]"'
            )
    model = served(model, activation)
    if is_quantized(model.model):
        raise ValueError(
            "`model` must not be quantized by Keras: export it as it was "
            "before `quantize`"
        )
    model = model.at_size(image_size, "ONNX")
    reader = model.fixed_reader(image_reader)
    if labels is not None:
        labels = check_labels(labels, model.classes)

    def write(beside):
        with convertible(model.network):
            model.write_onnx(str(beside))
        _finish(beside, onnx_properties(labels, reader))

    return written(path, model, images, verify, write)


@contextlib.contextmanager
def convertible(model):
    """Makes a model one that tf2onnx 1.17 converts, for the time of a `with`.

    It does not know TensorFlow's Erfc, of which the exact GELU is made, and
    takes tensors that are no variables, as Keras's Normalization has them, for
    inputs of the file. So Keras's own `model.export(path, format="onnx")`
    writes a file that ONNX Runtime refuses, but not inside of this.

    Args:
        model: A Keras model.
    """
    from tf2onnx.handler import tf_op

    tf_op("Erfc")(_Erfc)  # for good: there is no way back
    numpy_statistics = {
        layer: {
            "mean": np.asarray(layer.mean),
            "variance": np.asarray(layer.variance),
        }
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Normalization)
    }
    with TURN, replaced(numpy_statistics):
        yield


class _Erfc:
    """Writes Erfc, which ONNX does not have, as 1 - Erf."""

    @classmethod
    def version_9(cls, ctx, node, **kwargs):
        output = node.output[0]
        readers = ctx.find_output_consumers(output)
        dtype, shape = ctx.get_dtype(output), ctx.get_shape(output)
        node.type = "Erf"
        one = ctx.make_const(f"{node.name}/one", np.float32(1))
        result = ctx.make_node(
            "Sub", [one.output[0], output], shapes=[shape], dtypes=[dtype]
        )
        ctx.replace_all_inputs(output, result.output[0], ops=readers)


def _finish(path, properties):
    """Adds the properties, and mends the scales of what is resized.

    ONNX computes a size as the whole part of the old one times a float32
    scale, and 3 times that of 3 to 5 may be 4.9999995: scales are made two
    steps of float32 larger.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    resizes = [n for n in model.graph.node if n.op_type == "Resize"]
    scales = {n.input[2] for n in resizes if len(n.input) == 3}
    for constant in model.graph.initializer:
        if constant.name in scales:
            values = numpy_helper.to_array(constant)
            larger = np.nextafter(np.nextafter(values, 9e9), 9e9)
            values = np.where(values == np.round(values), values, larger)
            values = values.astype("float32")
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)
