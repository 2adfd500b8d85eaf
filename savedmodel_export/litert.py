"""LiteRT (TFLite) files for phones and small machines."""

import re
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from gcvit_export.fusion import by_rows
from gcvit_export.kinds.base import AUTO, Served, is_quantized
from gcvit_export.labels import check_labels, write_labels
from gcvit_export.metadata import with_metadata
from gcvit_export.paths import file_path
from gcvit_export.samples import checked_images
from gcvit_export.served import served
from gcvit_export.signatures import write_fixed
from gcvit_export.verification import written
from gcvit_keras import checks

IN_FLOAT = ("BATCH_MATMUL", "SOFTMAX", "SQUARED_DIFFERENCE", "RSQRT")
"""Operations of attention and LayerNorm that int8 files compute in float32:
XNNPACK has no int8 kernels for the last three, and for the first one only of
operands whose zero point is 0. LiteRT's own take five times the whole rest."""
LEAST_CALIBRATION = 16
"""Images; ranges found from fewer are those of these images."""


def export_litert(
    model,
    path,
    quantize=None,
    calibration=None,
    *,
    labels=None,
    activation=AUTO,
    image_size=None,
    image_reader=None,
    input_dtype="float32",
    images=None,
    verify=True,
) -> Path:
    """Converts a model to a LiteRT file of builtin operations.

    The file is verified before it is put in its place, with
    `NAME.tflite.verification.json` beside it. Labels and how images are read
    are in its metadata, as MediaPipe's `ImageClassifier` reads them.

    Args:
        model: Functional or Sequential model of images of a fixed size, a
            detector, or a segmenter.
        path: Path of the file, ending in `.tflite`; replaced if it is there,
            once the new one is whole.
        quantize: `None` for float32, the only one of a detector; `"float16"`
            for weights of half the
            size; `"dynamic"` for int8 weights, computing in int8 with ranges
            found as it runs (in runtimes of TensorFlow 2.17 or newer);
            `"int8"` for weights and activations in int8. int8 weights have a
            scale per channel. The last activation stays in float32, since
            int8 probabilities have steps of 1 / 256, and so do attention's
            products and softmax and LayerNorm's variance, for which XNNPACK
            has no int8 kernels.
        calibration: With `"int8"`: images that it will see, from which the
            ranges of the activations are found: array
            `(images, height, width, channels)`, pixels in [0, 255]. 16 at
            least; 100 to 500 are usual.
        labels: Names of the classes, in order, for the metadata and for
            `labels.txt` beside the file. Default: none.
        activation: See `export_saved_model`.
        image_size: Of a detector, or a segmenter of any size,
            `(height, width)` of the images.
        image_reader: `gcvit_keras.ImageReader`, for the metadata. Default:
            one of the model's size; of a detector or a segmenter one that
            stretches images to it.
        input_dtype: `"float32"` or `"uint8"`, of the pixels.
        images: See `export_saved_model`.
        verify: Whether to run the file in a process of its own and compare
            it with the model.

    Returns:
        `pathlib.Path` of the file. Input `images`:
        `(1, height, width, channels)` with pixels in [0, 255]. Outputs as
        `serve_images` of `export_saved_model` has them, float32.

    Raises:
        ValueError: For an argument out of range, a model whose height or
            width is dynamic, an activation that nothing tells, or another
            `labels.txt` beside the file.
        VerificationError: If the file does not compute what the model does;
            nothing of it is written.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_litert
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> file = export_litert(model, "model.tflite", labels=["cat", "dog"])
    >>> print(file.name, file.verification.kind)
    model.tflite litert float32
    """
    path = file_path(path, ".tflite")
    checks.one_of("quantize", quantize, Served.quantize)
    checks.one_of("input_dtype", input_dtype, ("float32", "uint8"))
    model = served(model, activation)
    if is_quantized(model.model):
        raise ValueError(
            "`model` must not be quantized by Keras, whose int8 LiteRT does "
            "not compute: export it as it was before `quantize`, with "
            'quantize="dynamic" or "int8"'
        )
    model = model.at_size(image_size, "LiteRT")
    if quantize not in model.quantize:
        accepted = "None for a detector, whose boxes would change places"
        raise checks.error("quantize", accepted, quantize)
    reader = model.fixed_reader(image_reader)
    calibration = _check_calibration(calibration, quantize, model.shape)
    labels_file = path.with_name("labels.txt")
    if labels is not None:
        labels = check_labels(labels, model.classes)
        _check_labels_beside(labels, labels_file)

    def write(beside):
        content = _convert(model, quantize, calibration, input_dtype)
        content = with_metadata(
            content, model, labels, reader, normalize=input_dtype == "float32"
        )
        beside.write_bytes(content)
        if labels is not None:  # which another export may have written now
            _check_labels_beside(labels, labels_file)

    file = written(path, model, images, verify, write)
    if labels is not None:
        write_labels(labels, labels_file)
    return file


def _check_labels_beside(labels, path):
    if not path.exists():
        return
    text = path.read_bytes().decode("utf-8-sig", "replace")
    if text.splitlines() != labels:
        raise ValueError(f"`labels` would replace {path}, which has others")


def _convert(model, quantize, calibration, input_dtype):
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
            denylisted_ops=list(IN_FLOAT),
            denylisted_nodes=[
                f"StatefulPartitionedCall:{i}"
                for i in range(len(model.outputs))
            ],
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
        with by_rows(model.network):
            write_fixed(model, folder, pixels)
        try:
            return convert()
        except ConverterError as error:
            text = str(error)
            line = (text.partition("error: ")[2] or text).split("\n")[0]
            reason = re.sub(r"^loc\(.*\): ", "", line)
            raise ValueError(
                "LiteRT's converter cannot convert "
                f"{model.network.name}: {reason}"
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
    images = checked_images(calibration, shape, "calibration")
    if len(images) < LEAST_CALIBRATION:
        raise ValueError(
            f"`calibration` must be {LEAST_CALIBRATION} images at least: from "
            "fewer the ranges of other images are not found. Received: "
            f"{len(images)}"
        )
    return images
