"""LiteRT (TFLite) files for phones and small machines."""

import re
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from gcvit_export.fusion import by_rows
from gcvit_export.labels import check_labels, same_labels, write_labels
from gcvit_export.paths import file_path
from gcvit_export.saved_model import write_fixed
from gcvit_export.served import is_quantized, served_network
from gcvit_export.verification import checked_images, verified_file

QUANTIZE = (None, "float16", "dynamic", "int8")


def export_litert(
    model,
    path,
    quantize=None,
    calibration=None,
    *,
    labels=None,
    input_dtype="float32",
    images=None,
    verify=True,
) -> Path:
    """Converts a model to a LiteRT file of builtin operations.

    The file is verified before it is put in its place, with
    `NAME.tflite.verification.json` beside it.

    Args:
        model: A classifier of this library with a fixed input size. Logits
            get a softmax.
        path: Path of the file, ending in `.tflite`; replaced if it is there,
            once the new one is whole.
        quantize: `None` for float32; `"float16"` for weights of half the
            size; `"dynamic"` for int8 weights, computing in int8 with ranges
            found as it runs; `"int8"` for weights and activations in int8.
            int8 weights have a scale for each channel. Only the last softmax
            stays in float32, since int8 probabilities have steps of 1 / 256.
        calibration: With `"int8"`: images that it will see, from which the
            ranges of the activations are found: array
            `(images, height, width, channels)`, pixels in [0, 255]. 100 to
            500 images are usual.
        labels: Names of the classes, in order, for `labels.txt` beside the
            file. Default: none is written.
        input_dtype: `"float32"` or `"uint8"`, of the pixels.
        images: What to verify on, array `(images, height, width, channels)`.
            Default: photographs.
        verify: Whether to run the file in a process of its own and compare
            it with the model.

    Returns:
        `pathlib.Path` of the file. Input `images`:
        `(1, height, width, channels)` with pixels in [0, 255]. Output
        `probabilities`: float32 `(1, classes)`.

    Raises:
        ValueError: For an argument out of range, a model whose height or
            width is dynamic, or another `labels.txt` beside the file.
        VerificationError: If the file does not compute what the model does;
            nothing of it is written.
    """
    path = file_path(path, ".tflite")
    for argument, value, accepted in (
        ("quantize", quantize, QUANTIZE),
        ("input_dtype", input_dtype, ("float32", "uint8")),
    ):
        if value not in accepted:
            raise ValueError(
                f"`{argument}` must be one of {accepted}. "
                f"Received: {argument}={value!r}"
            )
    network = served_network(model)
    if is_quantized(network):
        raise ValueError(
            "`model` must not be quantized by Keras, whose int8 LiteRT does "
            "not compute: export it as it was before `quantize`, with "
            'quantize="dynamic" or "int8"'
        )
    shape = network.input_shape[1:]
    if None in shape:
        raise ValueError(
            "LiteRT needs a fixed input size: build the model with "
            "`input_shape=(height, width, channels)`. "
            f"Received: a model of input shape {shape}"
        )
    calibration = _check_calibration(calibration, quantize, shape)
    labels_file = path.with_name("labels.txt")
    if labels is not None:
        labels = check_labels(labels, model.output_shape[-1])
        _check_labels_beside(labels, labels_file)
    with verified_file(path, network, images, verify) as beside:
        beside.write_bytes(
            _convert(network, quantize, calibration, input_dtype)
        )
        if labels is not None:  # which another export may have written now
            _check_labels_beside(labels, labels_file)
    if labels is not None:
        write_labels(labels, labels_file)
    return path


def _check_labels_beside(labels, path):
    if not same_labels(labels, path):
        raise ValueError(f"`labels` would replace {path}, which has others")


def _convert(network, quantize, calibration, input_dtype):
    """The file's content."""
    pixels = tf.dtypes.as_dtype(input_dtype)

    def converter():
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return converter

    def samples():
        for image in calibration:
            yield [image[None].astype(input_dtype)]

    def convert():
        if quantize != "int8":
            return converter().convert()
        quantized = converter()
        quantized.representative_dataset = samples
        # The converter's own way to leave operations in float.
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=["StatefulPartitionedCall:0"]
        )
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=quantized,
            debug_dataset=samples,
            debug_options=options,
        )
        return debugger.get_nondebug_quantized_model()

    with tempfile.TemporaryDirectory() as folder:
        # Through a SavedModel: converting a live function leaves variables
        # uninitialised and yields NaN.
        with by_rows(network):
            write_fixed(network, folder, pixels)
        try:
            return convert()
        except ConverterError as error:
            text = str(error)
            line = (text.partition("error: ")[2] or text).split("\n")[0]
            reason = re.sub(r"^loc\(.*\): ", "", line)
            raise ValueError(
                f"LiteRT's converter cannot convert {network.name}: {reason}"
            ) from error


def _check_calibration(calibration, quantize, shape):
    if quantize != "int8":
        if calibration is not None:
            raise ValueError(
                '`calibration` goes with quantize="int8" only. '
                f"Received: quantize={quantize!r}"
            )
        return None
    if calibration is None:
        raise ValueError(
            '`calibration` is missing: quantize="int8" needs images that the '
            "model will see"
        )
    return checked_images(calibration, shape, "calibration")
