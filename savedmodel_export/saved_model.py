"""SavedModel, as TensorFlow Serving mounts it."""

import errno
import numbers
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from gcvit_export.fusion import fused
from gcvit_export.labels import check_labels, write_labels
from gcvit_export.paths import check_loadable, check_local, made_folder
from gcvit_export.served import has_levels, served_network
from gcvit_export.verification import VERIFICATION_JSON, check
from gcvit_export.warmup import write_warmup
from gcvit_keras import ImageReader, checks
from gcvit_keras.files import WRITING, remove_abandoned
from gcvit_keras.images.graph import KERNELS, or_grey
from gcvit_keras.images.reader import MAX_PIXELS

TOP = 5
"""Classes that `serve_bytes` names."""
DYNAMIC_SIDE = 224
"""Side of the images that `serve_bytes` makes for a model of any size."""


def export_saved_model(
    model,
    directory,
    labels=None,
    *,
    dynamic_size=False,
    image_size=None,
    crop_ratio=1.0,
    crop_mode="center",
    interpolation="bicubic",
    max_pixels=MAX_PIXELS,
    warmup_batch_sizes=(),
    images=None,
    verify=True,
) -> Path:
    """Writes the next version of a model into a folder of versions.

    The version is written beside, verified, and renamed into place: a server
    that watches the folder never sees half of one, or one that computes
    something else than the model.

    Its signatures, of which the batch is dynamic:

    - `serving_default`: `images`, float32 `(batch, height, width, channels)`
      with pixels in [0, 255], to `probabilities`, float32 `(batch, classes)`.
    - `serve_bytes`, for models of RGB images: `image_bytes`, strings
      `(batch,)`, the content of JPEG, PNG, WebP or BMP files, to
      `probabilities`; `top_classes`, `top_scores` and `top_labels`
      `(batch, 5)` (or as many as there are classes), best first; and
      `valid`, booleans `(batch,)`. Files are decoded, resized and cropped as
      `gcvit_keras.load_image` does, but for EXIF rotation, which is not
      applied. Of a file that is broken, of another format or too large
      `valid` is false, and the scores are those of a grey image.
    - `features`, for models that have the levels of a GC ViT as their own
      layers: `images` to `pooled`, the mean over the normalised last feature
      map, `(batch, channels)`, and `P2` to `P5` of `feature_pyramid`.

    Args:
        model: A classifier of this library. Logits get a softmax.
        directory: Folder of the versions; made where missing.
        labels: Names of the classes, in order; they travel as the asset
            `labels.txt`. Default: `class 0` and so on.
        dynamic_size: Whether `images` may have any height and width, where
            the model has a fixed size.
        image_size: `(height, width)` that `serve_bytes` resizes to. Default:
            the model's; 224 x 224 where that is dynamic.
        crop_ratio: See `gcvit_keras.load_image`; of the images that
            `serve_bytes` reads.
        crop_mode: See there.
        interpolation: `"bicubic"` or `"bilinear"`.
        max_pixels: Height times width above which `serve_bytes` refuses an
            image, by its header.
        warmup_batch_sizes: Batch sizes for which the version has a warm-up
            request for each signature, in the file that TensorFlow Serving
            runs before the version is available.
        images: What to verify on, array `(images, height, width, channels)`,
            pixels in [0, 255]. Default: photographs.
        verify: Whether to run the version in a process of its own and
            compare it with the model; the result is its
            `verification.json`.

    Returns:
        `pathlib.Path` of the version, `directory/N` with N one above the
        highest there, from 1 on.

    Raises:
        ValueError: For an argument out of range, or a path that holds one of
            `*?[]`.
        VerificationError: If the version does not compute what the model
            does; nothing is left of it.
    """
    check_loadable(directory)
    check_local(directory, "directory")
    directory = Path(directory)
    network = served_network(model, dynamic_size, features=has_levels(model))
    checks.one_of("interpolation", interpolation, KERNELS)
    reader = ImageReader(
        _image_size(image_size, network),
        crop_ratio,
        crop_mode,
        interpolation,
        max_pixels,
    )
    warmup_sizes = check_batch_sizes(warmup_batch_sizes, "warmup_batch_sizes")
    labels = check_labels(labels, model.output_shape[-1])
    with made_folder(directory):
        remove_abandoned(directory)
        # Servers look at numbered folders only.
        beside = directory / f"{WRITING}{uuid.uuid4().hex}"
        try:
            with tempfile.TemporaryDirectory() as folder:
                labels_file = Path(folder, "labels.txt")  # the asset's name
                write_labels(labels, labels_file)
                with fused(network):
                    _write_served(network, beside, labels_file, reader)
            if warmup_sizes:
                write_warmup(beside, directory.name, warmup_sizes, reader.size)
            if verify:
                found = check(beside, network, images, directory)
                found.write(beside / VERIFICATION_JSON)
            return _rename_to_version(beside)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _rename_to_version(folder):
    """Makes a folder the next version among those it lies with."""
    versions = folder.parent
    while True:
        names = (p.name for p in versions.iterdir())
        taken = [int(name) for name in names if name.isdecimal()]
        version = versions / str(max(taken, default=0) + 1)
        try:
            os.rename(folder, version)
            return version
        except OSError as error:  # another export took the number meanwhile
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def write_fixed(network, directory, dtype=tf.float32):
    """Writes `serving_default` for one image, for converters to read.

    Args:
        network: As `served_network` returns, of a fixed size.
        directory: Folder to write into.
        dtype: Of the pixels.
    """
    spec = tf.TensorSpec((1, *network.input_shape[1:]), dtype, "images")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(images):
        images = tf.cast(images, tf.float32)
        scores = network(images, training=False)["probabilities"]
        return {"probabilities": scores}

    _save(network, directory, {"serving_default": serving_default})


def _write_served(network, directory, labels_file, reader):
    """Writes the signatures that `export_saved_model` describes."""
    shape = (None, *network.input_shape[1:])
    takes_images = tf.function(
        input_signature=[tf.TensorSpec(shape, tf.float32, "images")],
        autograph=False,
    )

    @takes_images
    def compute(images):  # one graph, which the signatures call
        # A server's session does not compare what it is fed with a signature;
        # `tf.ensure_shape` leaves out what a signature seems to say already.
        images = tf.raw_ops.EnsureShape(input=images, shape=shape)
        return network(images, training=False)

    @takes_images
    def serving_default(images):
        return {"probabilities": compute(images)["probabilities"]}

    @takes_images
    def features(images):
        found = compute(images)
        return {k: v for k, v in found.items() if k != "probabilities"}

    module = tf.Module()
    signatures = {"serving_default": serving_default}
    if shape[-1] == 3:
        signatures["serve_bytes"] = _serve_bytes(
            module, compute, labels_file, reader
        )
    if "pooled" in network.output:
        signatures["features"] = features
    _save(network, directory, signatures, module)
    (directory / "assets.extra").mkdir()
    (directory / "assets").mkdir(exist_ok=True)
    (directory / "assets" / ImageReader.FILE).write_text(reader.to_json())


def _serve_bytes(module, compute, labels_file, reader):
    """The signature of image files; keeps the labels in the module."""
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
        images, valid = _read_images(image_bytes, reader)
        scores = compute(images)["probabilities"]
        most = min(TOP, scores.shape[-1])
        top_scores, top_classes = tf.math.top_k(scores, most)
        return {
            "probabilities": scores,
            "top_classes": top_classes,
            "top_scores": top_scores,
            "top_labels": module.labels.lookup(tf.cast(top_classes, tf.int64)),
            "valid": valid,
        }

    return serve_bytes


def _save(network, directory, signatures, module=None):
    # Not Keras's ExportArchive: as of 3.15 it stores every weight twice.
    served = module or tf.Module()
    served.variables_served = [v.value for v in network.variables]
    signatures = {
        name: function.get_concrete_function()
        for name, function in signatures.items()
    }
    try:
        tf.saved_model.save(served, str(directory), signatures=signatures)
    except tf.errors.OpError as error:  # of the disk's; it is no OSError
        reason = error.message.split("\n")[0]
        raise OSError(errno.EIO, reason, str(directory)) from error


def _read_images(image_bytes, reader):
    """Images and whether they could be read, of a batch of files."""

    def read(content):
        return or_grey(lambda: reader.read_in_graph(content), reader.size)

    # A pipeline within a served graph is what `get_single_element` is for.
    files = tf.data.Dataset.from_tensor_slices(image_bytes)
    return (
        files.map(read, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(tf.size(image_bytes, tf.int64))
        .get_single_element()
    )


def _image_size(image_size, network):
    """Two integers, for `serve_bytes`."""
    own = network.input_shape[1:3]
    if image_size is None:
        return [side or DYNAMIC_SIDE for side in own]
    try:
        height, width = image_size
        fits = all(
            isinstance(side, numbers.Integral) and side >= 1
            for side in (height, width)
        )
    except (TypeError, ValueError):
        fits = False
    if not fits or any(
        side not in (None, given)
        for side, given in zip(own, image_size, strict=True)
    ):
        raise ValueError(
            "`image_size` must be (height, width), positive integers, and "
            f"those of the model where it has them, {own}. "
            f"Received: image_size={image_size!r}"
        )
    return [int(height), int(width)]


def check_batch_sizes(sizes, argument):
    """Batch sizes, checked.

    Args:
        sizes: Positive integers, ascending.
        argument: What the message calls them.

    Returns:
        List of integers.

    Raises:
        ValueError: If they are anything else.
    """
    listed = list(sizes) if isinstance(sizes, Iterable) else [None]
    if not all(
        isinstance(s, numbers.Integral) and s >= 1 for s in listed
    ) or listed != sorted(set(listed)):
        raise ValueError(
            f"`{argument}` must be positive integers, ascending. "
            f"Received: {argument}={sizes!r}"
        )
    return [int(size) for size in listed]
