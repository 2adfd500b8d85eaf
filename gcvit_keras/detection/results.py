"""Detection for a person: images of any size in, results in their pixels."""

import os

import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_keras.images.reader import as_pixels

DIVISOR = 32


def resized_size(height, width, short_side=800, long_side=1333):
    """Computes the size that an image is resized to, keeping its ratio.

    Args:
        height: Of the image, an integer.
        width: Of the image, an integer.
        short_side: Length of the shorter side, if the longer one allows.
        long_side: Length that the longer side does not exceed.

    Returns:
        Tuple of height and width, rounded as mmdet does.

    Examples:
    >>> from gcvit_keras.detection.results import resized_size
    >>> resized_size(480, 640), resized_size(300, 900)
    ((800, 1067), (444, 1333))
    """
    short, long = sorted((height, width))
    factor = min(long_side / long, short_side / short)
    return tuple(max(1, int(s * factor + 0.5)) for s in (height, width))


def resize_image(image, size):
    """Resizes bilinearly, without antialiasing, as OpenCV and mmdet do.

    Args:
        image: Array `(height, width, 3)`, uint8 or float.
        size: Height and width of the result.

    Returns:
        Float32 array `(*size, 3)` of whole numbers where they were.
    """
    if tuple(image.shape[:2]) == tuple(size):
        return np.asarray(image, "float32")
    resized = ops.image.resize(
        ops.cast(image, "float32"), size, interpolation="bilinear"
    )
    resized = ops.convert_to_numpy(resized)
    return np.round(resized) if image.dtype == np.uint8 else resized


def detect(model, images, batch_size, short_side, long_side):
    """Finds the objects in images of any size.

    Args:
        model: A `MaskRCNN` or `CascadeMaskRCNN`.
        images: See `MaskRCNN.detect`.
        batch_size: See `MaskRCNN.detect`.
        short_side: See `MaskRCNN.detect`.
        long_side: See `MaskRCNN.detect`.

    Returns:
        See `MaskRCNN.detect`.
    """
    checks.integer("batch_size", batch_size)
    checks.integer("short_side", short_side)
    checks.integer("long_side", long_side, least=short_side)
    if isinstance(images, (str, os.PathLike)) or getattr(images, "ndim", 4) < 4:
        raise checks.error("images", "a list of images", type(images).__name__)
    originals = [
        as_pixels(image, f"images[{i}]") for i, image in enumerate(images)
    ]
    groups = {}
    for i, image in enumerate(originals):
        size = resized_size(*image.shape[:2], short_side, long_side)
        padded = tuple(-(-side // DIVISOR) * DIVISOR for side in size)
        groups.setdefault(padded, []).append((i, size))
    results = [None] * len(originals)
    for padded, members in groups.items():
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            inputs = np.zeros((len(batch), *padded, 3), "float32")
            for row, (i, size) in enumerate(batch):
                image = resize_image(originals[i], size)
                inputs[row, : size[0], : size[1]] = image
            sizes = np.array([size for _, size in batch], "int32")
            outputs = model.predict_on_batch({"images": inputs, "sizes": sizes})
            for row, (i, size) in enumerate(batch):
                one = {k: np.asarray(v[row]) for k, v in outputs.items()}
                results[i] = _in_pixels_of(originals[i], size, one)
    return results


def _in_pixels_of(image, size, outputs):
    """One image's detections, in pixels of the image before resizing."""
    height, width = image.shape[:2]
    count = int(outputs["count"])
    factors = np.array([size[1] / width, size[0] / height] * 2, "float32")
    boxes = outputs["boxes"][:count] / factors
    return {
        "boxes": boxes,
        "scores": outputs["scores"][:count],
        "classes": outputs["classes"][:count],
        "masks": paste_masks_numpy(
            outputs["masks"][:count], boxes, height, width
        ),
    }
