"""Detection for a person: images of any size in, results in their pixels."""

import numpy as np
from keras import ops

from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_keras.images.sides import resized_sides

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
    sides = resized_sides((height, width), short_side, long_side)
    return tuple(int(side) for side in sides)


def resize_image(image, size):
    """Resizes bilinearly, without antialiasing, as OpenCV and mmdet do.

    An array `(height, width, 3)` becomes float32 `(*size, 3)`, rounded to whole
    numbers if it was uint8.
    """
    if tuple(image.shape[:2]) == tuple(size):
        return np.asarray(image, "float32")
    resized = ops.image.resize(
        ops.cast(image, "float32"), size, interpolation="bilinear"
    )
    resized = ops.convert_to_numpy(resized)
    return np.round(resized) if image.dtype == np.uint8 else resized


def in_pixels_of(image, size, outputs):
    """Takes one image's detections to pixels of the image before resizing.

    `size` is the height and width that it was resized to, `outputs` its part of
    what the model returns; the result is as `MaskRCNN.detect` gives it.
    """
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
