"""Regions of interest as rows of one tensor, which the heads look at."""

from keras import ops

from gcvit_keras.detection.fpn import LEVELS
from gcvit_keras.detection.roi_align import pyramid_roi_align
from gcvit_keras.detection.shapes import sizes_by_content


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
    rois = pyramid_roi_align(
        maps, boxes, size, fixed_size=not sizes_by_content()
    )
    return ops.reshape(rois, (-1, size, size, rois.shape[-1]))


def by_image(rows, boxes):
    """Tells apart by image what heads made of the regions of all.

    Args:
        rows: Tensor `(batch * n, ...)`.
        boxes: Tensor `(batch, n, 4)`.

    Returns:
        Tensor `(batch, n, ...)`.
    """
    batch, n, _ = ops.shape(boxes)
    return ops.reshape(rows, (batch, n, *rows.shape[1:]))
