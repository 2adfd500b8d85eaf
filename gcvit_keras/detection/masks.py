"""Masks: the targets of the mask head, and its results drawn into images."""

import numpy as np
from keras import ops

from gcvit_keras.detection.boxes import corners
from gcvit_keras.detection.roi_weights import (
    cell_weights,
    cut_bins,
    end_cells,
    finite_boxes,
)
from gcvit_keras.detection.shapes import sizes_by_content


def mask_targets(masks, boxes, objects, output_size=28):
    """Cuts and scales the ground truth's masks to the boxes.

    RoIAlign of a mask at scale 1 on each box, on if >= 0.5.

    Args:
        masks: Tensor `(batch, m, height, width)`, uint8 or boolean: masks of
            the ground truth in the size of the network's input.
        boxes: Tensor `(batch, n, 4)`: positive boxes, filled up with zeros.
        objects: Integer tensor `(batch, n)`: index of each box's ground truth,
            any valid one for filling.
        output_size: Height and width of a target. Defaults to 28.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size)` of 0 and 1.
    """
    batch, count, height, width = ops.shape(masks)
    n = ops.shape(boxes)[1]
    place = ops.cast(objects, "int32") + ops.arange(batch)[:, None] * count
    masks = ops.reshape(masks, (-1, height, width))

    def touched(begin, end, length):
        """Pixels of a direction that the samples touch, and their weights."""
        bins = cut_bins(begin, end, 1, length, output_size)
        first, last = 0, length - 1
        if sizes_by_content():
            first, last = (ops.cast(c, "int32") for c in end_cells(bins))
            first = first[0, 0]
            last = ops.maximum(first, last[-1, 0])  # a box may be reversed
        pixels = ops.cast(ops.arange(first, last + 1), "float32")
        return slice(first, last + 1), cell_weights(pixels, bins)

    def cut(box):
        (x1, y1, x2, y2), place = corners(box[0]), box[1]
        y, rows = touched(y1, y2, height)
        x, columns = touched(x1, x2, width)
        mask = ops.cast(ops.take(masks, place, axis=0)[y, x], "float32")
        soft = ops.matmul(ops.matmul(rows, mask), ops.transpose(columns))
        return ops.cast(soft >= 0.5, "float32")

    # One mask at a time: all of them as numbers would not fit.
    boxes = ops.reshape(finite_boxes(boxes), (-1, 4))
    targets = ops.map(cut, (boxes, ops.reshape(place, (-1,))))
    return ops.reshape(targets, (batch, n, output_size, output_size))


def box_mask_targets(masks, objects_boxes, boxes, objects, output_size=28):
    """Cuts the targets from masks that are kept over their own boxes.

    As `mask_targets`, in the cells of an object's box in place of pixels: the
    mask of a large object is coarser, that of a small one is not.

    Args:
        masks: Uint8 tensor `(batch, m, cells, cells)`: the share of each cell
            of its box that the object covers, 255 for all of it.
        objects_boxes: Tensor `(batch, m, 4)`: boxes of the ground truth.
        boxes: Tensor `(batch, n, 4)`: see `mask_targets`.
        objects: Integer tensor `(batch, n)`: see `mask_targets`.
        output_size: Height and width of a target. Defaults to 28.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size)` of 0 and 1.
    """
    cells = ops.shape(masks)[-1]
    objects = ops.cast(objects, "int32")
    own = ops.take_along_axis(
        finite_boxes(objects_boxes), objects[..., None], axis=1
    )
    left, top, right, bottom = corners(own)
    x1, y1, x2, y2 = corners(finite_boxes(boxes))

    def weights(begin, end, first, last):
        """Weights of a box's cells for the bins of one direction."""
        scale = ops.cast(cells, "float32") / ops.maximum(last - first, 1e-6)
        begin, end = ((place - first) * scale + 1 for place in (begin, end))
        bins = cut_bins(begin, end, 1, cells + 2, output_size)
        places = ops.cast(ops.arange(cells + 2), "float32")
        return cell_weights(places, bins)  # (batch, n, output_size, cells + 2)

    shares = ops.take_along_axis(masks, objects[..., None, None], axis=1)
    # A frame of nothing, or samples beside the box would repeat its edge.
    frame = ((0, 0), (0, 0), (1, 1), (1, 1))
    shares = ops.pad(ops.cast(shares, "float32") / 255, frame)
    rows, columns = weights(y1, y2, top, bottom), weights(x1, x2, left, right)
    soft = ops.matmul(ops.matmul(rows, shares), ops.swapaxes(columns, 2, 3))
    return ops.cast(soft >= 0.5, "float32")


def paste_masks(probabilities, boxes, height, width):
    """Draws the masks of boxes into the whole image, inside a graph.

    A pixel's centre is looked up in the mask, bilinearly, with zeros outside
    of it; it is on if the value >= 0.5. No box is rounded.

    Args:
        probabilities: Tensor `(batch, n, size, size)` in [0, 1].
        boxes: Tensor `(batch, n, 4)` in pixels of the image.
        height: Of the image, an integer or a scalar tensor.
        width: Of the image, an integer or a scalar tensor.

    Returns:
        Boolean tensor `(batch, n, height, width)`.
    """
    probabilities = ops.cast(probabilities, "float32")
    boxes = finite_boxes(boxes)
    size = ops.shape(probabilities)[-1]
    rows = _pixel_weights(boxes[..., 1], boxes[..., 3], height, size)
    columns = _pixel_weights(boxes[..., 0], boxes[..., 2], width, size)

    def paste(image):
        probabilities, rows, columns = image
        soft = ops.matmul(ops.matmul(rows, probabilities), columns)
        return soft >= 0.5

    # One detection of each image at a time: all of them would not fit.
    masks = ops.map(
        paste,
        (
            ops.swapaxes(probabilities, 0, 1),
            ops.swapaxes(rows, 0, 1),
            ops.transpose(columns, (1, 0, 3, 2)),
        ),
    )
    return ops.swapaxes(masks, 0, 1)


def paste_masks_numpy(probabilities, boxes, height, width):
    """Draws the masks of one image's boxes, each only where its box is.

    Args:
        probabilities: Array `(n, size, size)` in [0, 1].
        boxes: Array `(n, 4)` in pixels of the image.
        height: Of the image, an integer.
        width: Of the image, an integer.

    Returns:
        Boolean array `(n, height, width)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.masks import paste_masks_numpy
    >>> box = np.array([[1.0, 1.0, 3.0, 2.0]])
    >>> print(paste_masks_numpy(np.ones((1, 28, 28)), box, 3, 4)[0].astype(int))
    [[0 0 0 0]
     [0 1 1 0]
     [0 0 0 0]]
    """
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, soft, box in zip(masks, probabilities, boxes, strict=True):
        x1, y1, x2, y2 = np.asarray(box, "float32")
        if not (np.isfinite(box).all() and x2 > x1 and y2 > y1):
            continue
        # Only pixels that are less than a cell of the mask away.
        margin = (x2 - x1) / soft.shape[1] + 1, (y2 - y1) / soft.shape[0] + 1
        left, right = np.clip((x1 - margin[0], x2 + margin[0]), 0, width)
        top, bottom = np.clip((y1 - margin[1], y2 + margin[1]), 0, height)
        window = np.s_[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
        y = np.arange(height, dtype="float32")[window[0]]
        x = np.arange(width, dtype="float32")[window[1]]
        rows = _numpy_weights(y, y1, y2, soft.shape[0])
        columns = _numpy_weights(x, x1, x2, soft.shape[1])
        mask[window] = rows @ soft.astype("float32") @ columns.T >= 0.5
    return masks


def _pixel_weights(begin, end, pixels, size):
    """Computes the weights of a mask's cells for the pixels of one direction.

    Boxes begin and end at `(batch, n)`, in pixels; the image has so many
    `pixels` in this direction, the mask `size` cells. The result,
    `(batch, n, pixels, size)`, is 0 for boxes without size.
    """
    begin, end = begin[..., None], end[..., None]
    pixel = ops.cast(ops.arange(pixels), "float32")
    real = end > begin
    length = ops.where(real, end - begin, 1)
    position = (pixel + 0.5 - begin) / length * size - 0.5
    cells = ops.cast(ops.arange(size), "float32")
    weights = 1 - ops.abs(position[..., None] - cells)
    return ops.where(real[..., None], ops.maximum(weights, 0), 0)


def _numpy_weights(pixel, begin, end, size):
    """Computes what `_pixel_weights` does, of one box and some pixels."""
    position = (pixel + np.float32(0.5) - begin) / (end - begin) * size
    cells = np.arange(size, dtype="float32")
    weights = 1 - np.abs(position[:, None] - np.float32(0.5) - cells)
    return np.maximum(weights, 0)
