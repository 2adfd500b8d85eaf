"""Regions of interest as rows of one tensor, which the heads look at."""

from keras import ops

from gcvit_keras.detection.roi_align import pyramid_roi_align
from gcvit_keras.models.pyramid import LEVELS


def read_regions(pyramid, boxes, size):
    """Reads the features of regions `(batch, n, 4)`, by RoIAlign.

    `pyramid` is a dict of `"P2"` to `"P6"`; the result a float32 tensor
    `(batch * n, size, size, channels)`.
    """
    maps = [pyramid[level] for level in LEVELS]
    rois = pyramid_roi_align(maps, boxes, size)
    return ops.reshape(rois, (-1, size, size, rois.shape[-1]))


def by_image(rows, boxes):
    """Reshapes rows `(batch * n, ...)` to `(batch, n, ...)`, as boxes are."""
    batch, n, _ = ops.shape(boxes)
    return ops.reshape(rows, (batch, n, *rows.shape[1:]))
