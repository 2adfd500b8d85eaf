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
from gcvit_export.verification import verified_file
from gcvit_keras.layers.composite import replaced


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
        model: Functional or Sequential model of images of a fixed size, or a
            detector.
        path: Path of the file, ending in `.onnx`; replaced if it is there,
            once the new one is whole.
        labels: Names of the classes, in order, for its metadata.
        activation: See `export_saved_model`.
        image_size: Of a detector, `(height, width)` of the images.
        image_reader: `gcvit_keras.ImageReader`, for its metadata. Default:
            one of the model's size; of a detector one that stretches images
            to it.
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
    with verified_file(path, model, images, verify) as (beside, result):
        with convertible(model.network):
            model.write_onnx(str(beside))
        _describe(beside, onnx_properties(labels, reader))
    return result[0]


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
    with replaced(numpy_statistics):
        yield


class _Erfc:
    """How tf2onnx writes Erfc: 1 - Erf."""

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


def _describe(path, properties):
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)
