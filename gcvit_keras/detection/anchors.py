"""Anchors: the boxes that the region proposal network starts from.

The centre of the cell (y, x) is its corner (x * stride, y * stride). The
order of rows is y, x, ratio: row = (y * width + x) * 3 + ratio.
"""

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors of a cell, in their order."""

STRIDES = (4, 8, 16, 32, 64)
"""Pixels per cell of P2 to P6."""


def level_anchors(height, width, stride, scale=8.0, ratios=RATIOS):
    """Makes the anchors of one level: sides 8 * stride * sqrt(ratio).

    Args:
        height: Rows of the map, an integer or a scalar tensor.
        width: Columns of the map, an integer or a scalar tensor.
        stride: Pixels per cell, an integer.
        scale: Side of a square anchor in cells. Defaults to 8.
        ratios: Heights over widths. Defaults to 0.5, 1 and 2.

    Returns:
        Float32 tensor `(height * width * len(ratios), 4)`.
    """
    raise NotImplementedError


def pyramid_anchors(map_sizes, strides=STRIDES):
    """Makes the anchors of all levels, one after the other.

    Args:
        map_sizes: List with height and width of each level's map: integers
            or scalar tensors.
        strides: Pixels per cell of each level. Defaults to P2 to P6's.

    Returns:
        Float32 tensor `(anchors, 4)`.
    """
    raise NotImplementedError


def anchors_in_use(map_sizes, padded_sizes, strides=STRIDES, ratios=RATIOS):
    """Tells which anchors are on cells that cover an image.

    A cell takes part in training if its row < ceil(height / stride) and its
    column < ceil(width / stride), with the image padded by itself.

    Args:
        map_sizes: As for `pyramid_anchors`.
        padded_sizes: Integer tensor `(batch, 2)`: heights and widths of the
            images, each rounded up to the multiple of 32 (mmdet's `pad_shape`).
        strides: Pixels per cell of each level.
        ratios: Heights over widths; only their number matters.

    Returns:
        Boolean tensor `(batch, anchors)`.
    """
    raise NotImplementedError


def boxes_inside(boxes, image_sizes):
    """Tells which boxes are inside the images: mmdet's allowed border 0.

    x1 >= 0, y1 >= 0, x2 < width, y2 < height.

    Args:
        boxes: Tensor `(n, 4)` or `(batch, n, 4)`.
        image_sizes: Tensor `(batch, 2)` of heights and widths.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    raise NotImplementedError
