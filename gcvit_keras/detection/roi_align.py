"""RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3), sampled adaptively.

A bin of the result is a weighted sum of cells of the map. The weight of a cell
is the product of one for its row and one for its column, since a bilinear
sample, and the rule for samples outside of the map, are such products too. So
the result is a sparse matrix, of RoIs' bins and cells, times the map, and its
gradient the transposed matrix times the gradient of the bins: no sample, no
window of the map, is ever copied.

XLA and the other backends have no such product. There each box multiplies the
cells of its own window of the map, one box after the other; all windows have
the size of the largest that a level's boxes can have.
"""

from keras import ops

from gcvit_keras.detection.boxes import centres_and_sizes, corners
from gcvit_keras.detection.roi_sparse import sparse_products
from gcvit_keras.detection.roi_weights import cut_bins, finite_boxes
from gcvit_keras.detection.roi_windows import largest_window, window_products
from gcvit_keras.detection.shapes import sizes_by_content

CANONICAL_SIZE = 56
"""Pixels of side from which a box is read from the second level."""


def box_levels(boxes, levels=4):
    """Chooses the level that a box is read from, by its size.

    floor(log2(sqrt(width * height) / 56 + 1e-6)), clamped (Feature Pyramid
    Networks, arXiv 1612.03144, section 4.2).

    Args:
        boxes: Tensor `(..., 4)`.
        levels: How many there are, an integer.

    Returns:
        Int32 tensor `(...)`, 0 (the finest) to `levels` - 1.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.roi_align import box_levels
    >>> sides = np.array([[50.0], [112.0], [900.0]])
    >>> print(np.array(box_levels(sides * [0, 0, 1, 1])))
    [0 1 3]
    """
    _, _, width, height = centres_and_sizes(ops.cast(boxes, "float32"))
    size = ops.sqrt(width * height)
    size = ops.where(size >= 0, size, 0)  # not so: a corner is NaN
    level = ops.floor(ops.log2(size / CANONICAL_SIZE + 1e-6))
    return ops.cast(ops.clip(level, 0, levels - 1), "int32")


def pyramid_roi_align(features, boxes, output_size, strides=(4, 8, 16, 32)):
    """Averages the map of a box's level within the cells of a grid in it.

    A box is divided by the stride and moved by half a pixel ("aligned"), cut
    into `output_size`**2 bins, and each bin averages ceil(size of the bin)
    bilinear samples per direction. A sample below -1 or above the size of the
    map counts as 0. A box without area gives zeros, and so does one that is
    not finite. Computes in float32 and carries the gradient of `features`.

    Where no tensor may size itself by the boxes (see `sizes_by_content`), the
    maps' sizes must be static, and the gradient, though right, is slow.

    Args:
        features: List of tensors `(batch, height, width, channels)`, from
            fine to coarse.
        boxes: Tensor `(batch, n, 4)` in pixels of the input.
        output_size: Bins per direction, an integer.
        strides: Pixels of the input per cell of each map.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size, channels)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.roi_align import pyramid_roi_align
    >>> columns = np.arange(8, dtype="float32")[None, None, :, None]
    >>> maps = [np.broadcast_to(columns, (1, 6, 8, 1))]
    >>> box = np.array([[[8.0, 4.0, 24.0, 20.0]]])
    >>> print(np.array(pyramid_roi_align(maps, box, 2, [4]))[0, 0, :, :, 0])
    [[2.5 4.5]
     [2.5 4.5]]
    """
    batch, n = ops.shape(boxes)[:2]
    boxes = ops.reshape(finite_boxes(boxes), (-1, 4))

    # The maps one after the other, as rows of cells; where each box's begins.
    channels = features[0].shape[-1]
    sizes = [ops.shape(map_)[1:3] for map_ in features]
    areas = [height * width for height, width in sizes]
    begins = [sum(areas[:level]) * batch for level in range(len(areas))]
    cells = [ops.reshape(map_, (-1, channels)) for map_ in features]
    cells = ops.cast(ops.concatenate(cells), "float32")

    level = box_levels(boxes, len(features))
    height, width = (_pick(size, level) for size in zip(*sizes, strict=True))
    image = ops.repeat(ops.arange(batch), n)
    begin = _pick(begins, level) + image * height * width

    x1, y1, x2, y2 = corners(boxes)
    stride = _pick(strides, level, "float32")
    rows = cut_bins(y1, y2, stride, height, output_size)
    columns = cut_bins(x1, x2, stride, width, output_size)
    if sizes_by_content():
        bins = sparse_products(cells, rows, columns, begin, width)
    else:
        # The side of the largest box in cells; the last level has any size.
        sides = [2 * CANONICAL_SIZE * 2**i / s for i, s in enumerate(strides)]
        sides[-1] = float("inf")
        window = max(map(largest_window, sizes, sides))
        bins = window_products(cells, rows, columns, begin, width, window)
    return ops.reshape(bins, (batch, n, output_size, output_size, channels))


def _pick(values, level, dtype="int32"):
    """Gives each box the value of its level; values may be tensors."""
    values = ops.stack([ops.cast(value, dtype) for value in values])
    return ops.take(values, level)
