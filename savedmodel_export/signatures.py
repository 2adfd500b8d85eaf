"""The graphs that a SavedModel is made of."""

import errno

import tensorflow as tf

from gcvit_export.runner import FEATURES, FILES, PIXELS
from gcvit_keras import ImageReader
from gcvit_keras.images.graph import or_grey

TOP = 5
"""Number of classes that `serve_bytes` names."""
READERS = 2
"""Number of files of a batch that are decoded at once. Not as many as there
are cores: a container sees all those of its machine, whatever its share, and
what it needs for reading is this times what one image needs."""
DEFAULT = "serving_default"
CHANNELS = (1, 3)
"""Numbers of channels of images that files are decoded to."""


def write_fixed(model, directory, dtype=tf.float32):
    """Writes `serving_default` for one image, for converters to read.

    Args:
        model: A `Served` of a fixed size.
        directory: Folder to write into.
        dtype: Dtype of the pixels.
    """
    spec = tf.TensorSpec((1, *model.shape), dtype, "images")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(images):
        outputs = model.network(tf.cast(images, tf.float32), training=False)
        return {name: outputs[name] for name in model.meanings}

    _save(model, directory, {DEFAULT: serving_default}, tf.Module())


def write_signatures(model, directory, labels_file, reader, default):
    """Writes the signatures that `export_saved_model` describes.

    Args:
        model: A `Served`.
        directory: Folder to write into.
        labels_file: Path of the names of the classes, or `None`.
        reader: `ImageReader`, or `None` for no signature of files.
        default: Name of the signature that is `serving_default`, too.

    Returns:
        Dict from names of signatures to the name of what they take.
    """
    shape = (None, *model.shape)
    takes_images = tf.function(
        input_signature=[tf.TensorSpec(shape, tf.float32, "images")],
        autograph=False,
    )

    @takes_images
    def compute(images):  # one graph, which the signatures call
        # A server's session does not compare what it is fed with a signature;
        # `tf.ensure_shape` leaves out what a signature seems to say already.
        images = tf.raw_ops.EnsureShape(input=images, shape=shape)
        return model.network(images, training=False)

    @takes_images
    def serve_images(images):
        outputs = compute(images)
        return {name: outputs[name] for name in model.meanings}

    @takes_images
    def features(images):
        outputs = compute(images)
        return {name: outputs[name] for name in model.features}

    module = tf.Module()
    functions = {PIXELS: serve_images}
    if reader is not None:
        functions[FILES] = _serve_bytes(
            module, model, compute, labels_file, reader
        )
    if model.features:
        functions[FEATURES] = features
    _save(model, directory, {DEFAULT: functions[default], **functions}, module)
    if reader is not None:
        assets = directory / "assets"
        assets.mkdir(exist_ok=True)
        (assets / ImageReader.FILE).write_text(reader.to_json(), "utf-8")
    kinds = {name: "images" for name in functions}
    if reader is not None:
        kinds[FILES] = "image_bytes"
    return {DEFAULT: kinds[default], **kinds}


def _serve_bytes(module, model, compute, labels_file, reader):
    """The signature of image files; keeps the labels in the module."""
    if labels_file:
        module.labels_file = tf.saved_model.Asset(str(labels_file))
        module.labels = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                module.labels_file,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )

    @tf.function(
        input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")],
        autograph=False,
    )
    def serve_bytes(image_bytes):
        images, valid = _read(image_bytes, reader)
        outputs = compute(images)
        answer = {name: outputs[name] for name in model.meanings}
        answer["valid"] = valid
        if labels_file:
            scores = answer["probabilities"]
            most = min(TOP, model.classes)
            answer["top_scores"], best = tf.math.top_k(scores, most)
            answer["top_classes"] = best
            best = tf.cast(best, tf.int64)
            answer["top_labels"] = module.labels.lookup(best)
        return answer

    return serve_bytes


def _read(image_bytes, reader):
    """Images and whether they could be read, of a batch of files."""

    def read(content):
        return or_grey(
            lambda: reader.read_in_graph(content),
            reader.size,
            channels=reader.channels,
        )

    # A pipeline within a served graph is what `get_single_element` is for.
    files = tf.data.Dataset.from_tensor_slices(image_bytes)
    return (
        files.map(read, num_parallel_calls=READERS)
        .batch(tf.size(image_bytes, tf.int64))
        .get_single_element()
    )


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
