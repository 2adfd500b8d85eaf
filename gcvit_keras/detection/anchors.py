"""Anchors: the boxes that the region proposal network starts from.

The centre of the cell (y, x) is its corner (x * stride, y * stride). The
order of rows is y, x, ratio: row = (y * width + x) * 3 + ratio.
"""

import numpy as np
from keras import ops

from gcvit_keras.detection.boxes import corners

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors of a cell, in their order."""

STRIDES = (4, 8, 16, 32, 64)
"""Pixels per cell of P2 to P6."""


def level_anchors(height, width, stride):
    """Makes the anchors of one level: sides 8 * stride * sqrt(ratio).

    Args:
        height: Rows of the map, an integer or a scalar tensor.
        width: Columns of the map, an integer or a scalar tensor.
        stride: Pixels per cell, an integer.

    Returns:
        Float32 tensor `(height * width * 3, 4)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.anchors import level_anchors
    >>> print(np.array(level_anchors(1, 2, 4))[1::3])
    [[-16. -16.  16.  16.]
     [-12. -16.  20.  16.]]
    """
    ratios = np.sqrt(RATIOS)
    halves = np.stack([1 / ratios, ratios], axis=-1) * stride * 8 / 2
    corners = np.concatenate([-halves, halves], axis=-1).astype("float32")

    def positions(count):
        return ops.cast(ops.arange(count), "float32") * stride

    x, y = ops.meshgrid(positions(width), positions(height))
    centres = ops.reshape(ops.stack([x, y, x, y], axis=-1), (-1, 1, 4))
    return ops.reshape(centres + corners, (-1, 4))


def pyramid_anchors(map_sizes):
    """Makes the anchors of all levels, one after the other.

    Args:
        map_sizes: List with height and width of the maps P2 to P6: integers or
            scalar tensors.

    Returns:
        Float32 tensor `(anchors, 4)`.
    """
    levels = zip(map_sizes, STRIDES, strict=True)
    return ops.concatenate(
        [level_anchors(*size, stride) for size, stride in levels]
    )


def anchors_in_use(map_sizes, padded_sizes, strides=STRIDES):
    """Tells which anchors are on cells that cover an image.

    A cell takes part in training if its row < ceil(height / stride) and its
    column < ceil(width / stride), with the image padded by itself.

    Args:
        map_sizes: As for `pyramid_anchors`.
        padded_sizes: Integer tensor `(batch, 2)`: heights and widths of the
            images, each rounded up to the multiple of 32 (mmdet's `pad_shape`).
        strides: Pixels per cell of each level.

    Returns:
        Boolean tensor `(batch, anchors)`.
    """
    in_use = []
    for (height, width), stride in zip(map_sizes, strides, strict=True):
        covered = -(-ops.cast(padded_sizes, "int32") // stride)
        rows = ops.arange(height)[None] < covered[:, :1]
        columns = ops.arange(width)[None] < covered[:, 1:]
        cells = rows[:, :, None, None] & columns[:, None, :, None]
        cells = ops.repeat(cells, len(RATIOS), axis=3)
        in_use.append(ops.reshape(cells, (-1, height * width * len(RATIOS))))
    return ops.concatenate(in_use, axis=1)


def boxes_inside(boxes, image_sizes):
    """Tells which boxes are inside the images: mmdet's allowed border 0.

    x1 >= 0, y1 >= 0, x2 < width, y2 < height.

    Args:
        boxes: Tensor `(n, 4)` or `(batch, n, 4)`.
        image_sizes: Tensor `(batch, 2)` of heights and widths.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    sizes = ops.cast(image_sizes, boxes.dtype)
    x1, y1, x2, y2 = corners(boxes)
    height, width = sizes[:, :1], sizes[:, 1:]
    return (x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height)
