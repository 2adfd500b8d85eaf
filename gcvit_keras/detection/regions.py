"""Regions of interest as rows of one tensor, which the heads look at."""

from keras import ops

from gcvit_keras.detection.roi_align import pyramid_roi_align
from gcvit_keras.models.pyramid import LEVELS


def read_regions(pyramid, boxes, size):
    """Reads the features of regions, by RoIAlign.

    Args:
        pyramid: Dict of `"P2"` to `"P6"`.
        boxes: Float tensor `(batch, n, 4)`.
        size: Cells per side of the result, an integer.

    Returns:
        Float32 tensor `(batch * n, size, size, channels)`.
    """
    maps = [pyramid[level] for level in LEVELS]
    rois = pyramid_roi_align(maps, boxes, size)
    return ops.reshape(rois, (-1, size, size, rois.shape[-1]))


def by_image(rows, boxes):
    """Reshapes the heads' rows of all images to rows per image.

    Args:
        rows: Tensor `(batch * n, ...)`.
        boxes: Tensor `(batch, n, 4)`.

    Returns:
        Tensor `(batch, n, ...)`.
    """
    batch, n, _ = ops.shape(boxes)
    return ops.reshape(rows, (batch, n, *rows.shape[1:]))
