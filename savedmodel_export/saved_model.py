"""SavedModel, as TensorFlow Serving mounts it."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from gcvit_export.fusion import fused
from gcvit_export.kinds.base import AUTO
from gcvit_export.labels import check_labels, write_labels
from gcvit_export.paths import check_loadable, check_local, made_folder
from gcvit_export.runner import FILES, PIXELS
from gcvit_export.samples import checked_images
from gcvit_export.served import served
from gcvit_export.signatures import write_signatures
from gcvit_export.verification import VERIFICATION_JSON, check, exported
from gcvit_export.warmup import FILE as WARMUP_FILE
from gcvit_export.warmup import write_warmup
from gcvit_keras import checks
from gcvit_keras.files import WRITING, remove_abandoned


def export_saved_model(
    model,
    directory,
    labels=None,
    *,
    activation=AUTO,
    dynamic_size=False,
    image_reader=None,
    default_signature=PIXELS,
    warmup_batch_sizes=(),
    images=None,
    verify=True,
) -> Path:
    """Writes the next version of a model into a folder of versions.

    The version is written beside, verified, and renamed into place: a server
    that watches the folder never sees half of one, or one that computes
    something else than the model.

    Its signatures, of which the batch is dynamic:

    - `serve_images`: `images`, float32 `(batch, height, width, channels)`
      with pixels in [0, 255], to `probabilities`, float32 `(batch, classes)`.
      A model of several outputs, or of others than probabilities, gives them
      by their own names.
    - `serve_bytes`, for models of grey or RGB images: `image_bytes`, strings
      `(batch,)`, the content of JPEG, PNG, WebP or BMP files, to the same
      outputs; with `probabilities`, to `top_classes`, `top_scores` and
      `top_labels` `(batch, 5)` (or as many as there are classes), best first;
      and to `valid`, booleans `(batch,)`. Files are read by `image_reader`.
      Where one is broken, of another format or too large, `valid` is false
      and the outputs are those of a grey image.
    - `features`, for models that have the levels of a GC ViT as their own
      layers: `images` to `pooled`, the mean over the normalised last feature
      map, `(batch, channels)`, and `P2` to `P5` of `feature_pyramid`.
    - `serving_default`: one of the first two, as `default_signature` says.

    Of a detector, with all its post-processing:

    - `serve_images`: `images` of any size, padded to multiples of 32 as
      `detect` pads them, to what the detector returns:
      `boxes`, `scores`, `classes`, `masks` and `count`.
    - `serve_bytes`: files, resized by `image_reader` as `detect` does, each by
      itself, to the same outputs with boxes in pixels of the file; `labels`
      `(batch, rows)`, strings; `sizes`, int32 `(batch, 2)`, height and width
      of the files; and `valid`, without which nothing is found.
    - `serve_bytes_masks`: the same, but for the masks: `mask_png_bytes`
      `(batch, rows)`, a PNG of the file's size for each detection, empty
      beyond the count.
    - `features`: `images` to the maps `P2` to `P6`.

    Of a segmenter:

    - `serve_images`: `images`, of any size where the model takes any, to
      `logits` `(batch, height / 4, width / 4, classes)`, or of every pixel,
      as the model gives them.
    - `serve_bytes`, of a model of any size: files, resized by `image_reader`
      as `segment` does, each by itself, to `class_png_bytes` `(batch,)`, a PNG
      of the file's size whose grey levels are the classes; `sizes`, int32
      `(batch, 2)`, height and width of the files; and `valid`, without which
      the PNG is empty.

    Args:
        model: Functional or Sequential model of images, a detector or a
            segmenter.
        directory: Folder of the versions; made where missing.
        labels: Names of the classes, in order; they travel as the asset
            `labels.txt`. Default: `class 0` and so on.
        activation: Activation that outputs without one need, `"softmax"`,
            `"sigmoid"` or `None`; or a dict of these by the names of
            outputs. By default the last layer's activation and the loss that
            the model is compiled with tell (`BinaryCrossentropy` with
            `from_logits=True`: a sigmoid; `"mse"`: none).
        dynamic_size: Whether `images` may have any height and width, where
            the model has a fixed size.
        image_reader: `gcvit_keras.ImageReader` of `serve_bytes`. Default: one
            of the model's size. Needed where the model itself is of any size.
            Of a detector a `gcvit_keras.detection.DetectionReader`, by
            default with the published sides of 800 and 1333; of a segmenter a
            `gcvit_keras.segmentation.SegmentationReader`.
        default_signature: `"serve_images"`, or `"serve_bytes"` for services
            that call `serving_default` only.
        warmup_batch_sizes: Batch sizes for which the version has a warm-up
            request per signature, in the file that TensorFlow Serving runs
            before the version is available.
        images: Images to verify on, array `(images, height, width,
            channels)`, pixels in [0, 255]. Default: photographs.
        verify: Whether to run the version in a process of its own and
            compare it with the model; the result is its
            `verification.json`.

    Returns:
        `pathlib.Path` of the version, `directory/N` with N one above the
        highest there, from 1 on. Its attribute `verification` is the
        `Verification`.

    Raises:
        ValueError: For an argument out of range, an activation that nothing
            tells, or a path that holds one of `*?[]`.
        VerificationError: If the version does not compute what the model
            does; nothing is left of it.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_saved_model
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> version = export_saved_model(model, "pets", labels=["cat", "dog"])
    >>> print(version, version.verification.difference < 1e-5)
    pets/1 True
    """
    check_loadable(directory)
    check_local(directory, "directory")
    directory = Path(directory)
    model = served(model, activation, dynamic_size=dynamic_size, features=True)
    checks.one_of("default_signature", default_signature, (PIXELS, FILES))
    reader = None
    if not model.no_files:
        reader = model.reader(image_reader)
    elif image_reader is not None:
        accepted = f"None: {model.no_files}"
        raise checks.error("image_reader", accepted, image_reader)
    elif default_signature == FILES:
        raise ValueError(
            f"`default_signature` cannot be {FILES!r}: {model.no_files}"
        )
    warmup_sizes = check_batch_sizes(warmup_batch_sizes, "warmup_batch_sizes")
    labels = check_labels(labels, model.classes)
    if images is not None:
        images = checked_images(images, model.model_shape)
    with made_folder(directory):
        remove_abandoned(directory)
        # Servers look at numbered folders only.
        beside = directory / f"{WRITING}{uuid.uuid4().hex}"
        try:
            with tempfile.TemporaryDirectory() as folder, fused(model.network):
                labels_file = None
                if labels:
                    labels_file = Path(folder, "labels.txt")  # asset's name
                    write_labels(labels, labels_file)
                arguments = write_signatures(
                    model, beside, labels_file, reader, default_signature
                )
            if warmup_sizes:
                extra = beside / "assets.extra"
                extra.mkdir()
                write_warmup(
                    extra / WARMUP_FILE,
                    directory.name,
                    warmup_sizes,
                    arguments,
                    model,
                    reader,
                )
            verification = None
            if verify:
                verification = check(beside, model, images, directory)
                verification.write(beside / VERIFICATION_JSON)
            return exported(_rename_to_version(beside), verification)
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


def check_batch_sizes(sizes, argument) -> list:
    """Checks batch sizes: positive integers, ascending; returns a list."""
    accepted = "positive integers, ascending"
    if not isinstance(sizes, Iterable):
        raise checks.error(argument, accepted, sizes)
    try:
        listed = [checks.integer(argument, size) for size in sizes]
    except ValueError:
        listed = None
    if listed is None or listed != sorted(set(listed)):
        raise checks.error(argument, accepted, sizes)
    return listed
