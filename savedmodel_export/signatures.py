"""The graphs that a SavedModel is made of."""

import errno

import tensorflow as tf

from gcvit_export.runner import FEATURES, PIXELS

DEFAULT = "serving_default"


def write_fixed(model, directory, dtype=tf.float32):
    """Writes `serving_default` of a `Served` of a fixed size, for converters.

    It takes one image, of pixels of `dtype`.
    """
    spec = tf.TensorSpec((1, *model.shape), dtype, "images")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(images):
        outputs = model.compute(tf.cast(images, tf.float32))
        return {name: outputs[name] for name in model.outputs}

    _save(model, directory, {DEFAULT: serving_default}, tf.Module())


def write_signatures(model, directory, labels_file, reader, default):
    """Writes the signatures that `export_saved_model` describes.

    Args:
        model: A `Served`.
        directory: Folder to write into.
        labels_file: Path of the names of the classes, or `None`.
        reader: As `Served.reader` returns; `None` for no signature of files.
        default: Name of the signature that is `serving_default`, too.

    Returns:
        Dict from names of signatures to the name of their input.
    """
    spec = tf.TensorSpec((None, *model.shape), tf.float32, "images")
    takes_images = tf.function(
        input_signature=[spec],
        autograph=False,
    )

    compute = model.graph()

    @takes_images
    def serve_images(images):
        outputs = compute(images)
        return {name: outputs[name] for name in model.outputs}

    @takes_images
    def features(images):
        outputs = compute(images)
        return {name: outputs[name] for name in model.features}

    module = tf.Module()
    functions = {PIXELS: serve_images}
    kinds = {PIXELS: "images"}
    if reader is not None:
        of_files = model.file_signatures(module, compute, labels_file, reader)
        functions |= of_files
        kinds |= dict.fromkeys(of_files, "image_bytes")
    if model.features:
        functions[FEATURES] = features
        kinds[FEATURES] = "images"
    _save(model, directory, {DEFAULT: functions[default], **functions}, module)
    if reader is not None:
        assets = directory / "assets"
        assets.mkdir(exist_ok=True)
        (assets / reader.FILE).write_text(reader.to_json(), "utf-8")
    return {DEFAULT: kinds[default], **kinds}


def _save(model, directory, functions, module):
    # Not Keras's ExportArchive: as of 3.15 it stores every weight twice.
    module.variables_served = [v.value for v in model.network.variables]
    signatures = {
        name: function.get_concrete_function()
        for name, function in functions.items()
    }
    try:
        tf.saved_model.save(module, str(directory), signatures=signatures)
    except tf.errors.OpError as error:  # of the disk's; it is no OSError
        reason = error.message.split("\n")[0]
        raise OSError(errno.EIO, reason, str(directory)) from error
