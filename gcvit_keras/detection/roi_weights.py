"""Weights that the samples of RoIAlign's bins give to cells of a map.

One direction at a time: a sample's weights are products of those of both.
"""

from typing import Any, NamedTuple

from keras import ops


def finite_boxes(boxes):
    """Makes float32 constants of boxes `(..., 4)`, zeros where not finite."""
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    finite = ops.all(ops.isfinite(boxes), axis=-1, keepdims=True)
    return ops.where(finite, boxes, 0)


class Bins(NamedTuple):
    """The bins of boxes in one direction, in cells of their maps.

    Attributes:
        begin: Float32 tensor `(..., bins, 1)`: where each bin begins.
        size: Float32 tensor `(..., 1, 1)`, the same for all bins of a box.
        samples: Float32 tensor `(..., 1, 1)`: ceil(size) samples per bin, at
            begin + (i + 0.5) * size / samples; 0 for boxes without size.
        length: Float32 tensor `(..., 1, 1)` or scalar: cells of the map.
    """

    begin: Any
    size: Any
    samples: Any
    length: Any


def cut_bins(begin, end, stride, length, count):
    """Cuts boxes into bins, in one direction.

    Args:
        begin: Tensor `(...)`: where the boxes begin, in pixels.
        end: Tensor `(...)`: where they end.
        stride: Pixels per cell of their maps: a number or a tensor `(...)`.
        length: Cells of their maps: an integer or a tensor `(...)`.
        count: Bins per box, an integer.

    Returns:
        The `Bins`.
    """
    start = begin / stride - 0.5
    size = (end / stride - 0.5 - start)[..., None, None] / count
    places = ops.arange(count, dtype="float32")[:, None]
    length = ops.cast(length, "float32")
    return Bins(
        begin=start[..., None, None] + places * size,
        size=size,
        samples=ops.maximum(ops.ceil(size), 0),
        length=length[..., None, None] if len(length.shape) else length,
    )


def end_cells(bins):
    """Finds the first and the last cell that the samples of bins touch.

    Returns a tuple of two float32 tensors `(..., bins, 1)`.
    """
    first = ops.floor(_on_map(bins, _position(bins, 0)))
    last = ops.floor(_on_map(bins, _position(bins, bins.samples - 1))) + 1
    return first, ops.minimum(last, bins.length - 1)


def cell_weights(cells, bins):
    """Averages the bilinear weights that the samples of bins give to cells.

    Args:
        cells: Float32 tensor `(cells,)` or `(..., bins, cells)`: their numbers.
        bins: The `Bins`.

    Returns:
        Float32 tensor `(..., bins, cells)`.
    """
    count = ops.maximum(bins.samples, 1)
    step = ops.maximum(bins.size / count, 1e-6)
    # Samples of a bin are at least half a cell apart, so at most four of them
    # are less than a cell away; one more at each end, for rounding.
    before = ops.floor((cells - 1 - bins.begin) / step - 0.5)
    before = ops.clip(before, 0, count - 1)
    weights = 0.0
    for i in range(6):
        sample = before + i
        position = _position(bins, sample)
        is_sample = (sample < bins.samples) & (position >= -1)
        is_sample = is_sample & (position <= bins.length)
        distance = ops.abs(cells - _on_map(bins, position))
        weights += ops.where(is_sample, ops.maximum(1 - distance, 0), 0)
    return ops.where(cells < bins.length, weights, 0) / count


def _position(bins, sample):
    count = ops.maximum(bins.samples, 1)
    return bins.begin + (sample + 0.5) * bins.size / count


def _on_map(bins, position):
    return ops.minimum(ops.maximum(position, 0), bins.length - 1)
