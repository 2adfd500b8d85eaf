"""Boxes: corners, sizes, overlap, and their coding relative to other boxes.

The convention of `gcvit_keras.detection`:

- A box is `x1, y1, x2, y2` in pixels of the network's input, float32; x to the
  right, y downwards, the pixel (0, 0) covering [0, 1] x [0, 1]. No "+ 1".
- Tensors come batch first, with the same number of boxes for each image:
  `(batch, n, 4)`. Missing ground truth is filled up with boxes of zeros and
  class -1.
- `image_sizes` is `(batch, 2)`: height and width of each image, without the
  padding that a batch adds at the right and the bottom.
- Boxes carry no gradient unless a docstring says otherwise.
"""

import math

from keras import ops

MAX_LOG_RATIO = abs(math.log(16 / 1000))
"""Largest |log| of a change of size that `decode_boxes` makes: 62.5 times."""

SMALLEST_AREA = 1e-6
"""Least area that an overlap is divided by, in square pixels."""


def box_areas(boxes):
    """Computes areas; 0 for boxes whose corners are in the wrong order.

    Args:
        boxes: Tensor `(..., 4)`.

    Returns:
        Tensor `(...)`, in square pixels.
    """
    x1, y1, x2, y2 = corners(boxes)
    return ops.maximum(x2 - x1, 0) * ops.maximum(y2 - y1, 0)


def box_iou(boxes, others):
    """Computes the intersection over union of every pair.

    inter / max(union, 1e-6): a pair of boxes without area has 0.

    Args:
        boxes: Tensor `(..., n, 4)`.
        others: Tensor `(..., m, 4)`.

    Returns:
        Tensor `(..., n, m)` in [0, 1].

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.boxes import box_iou
    >>> boxes = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 20.0]])
    >>> print(np.array(box_iou(boxes[:1], boxes)).round(2))
    [[1.  0.2]]
    """
    boxes, others = boxes[..., :, None, :], others[..., None, :, :]
    x1, y1, x2, y2 = corners(boxes)
    other_x1, other_y1, other_x2, other_y2 = corners(others)
    width = ops.minimum(x2, other_x2) - ops.maximum(x1, other_x1)
    height = ops.minimum(y2, other_y2) - ops.maximum(y1, other_y1)
    shared = ops.maximum(width, 0) * ops.maximum(height, 0)
    union = box_areas(boxes) + box_areas(others) - shared
    iou = shared / ops.maximum(union, SMALLEST_AREA)
    return ops.where(iou >= 0, iou, 0)  # not so: a corner is NaN


def clip_boxes(boxes, image_sizes):
    """Moves corners outside of the image onto its border.

    Args:
        boxes: Tensor `(batch, ..., 4)`.
        image_sizes: Tensor `(batch, 2)` of heights and widths.

    Returns:
        Tensor like `boxes`, x in [0, width] and y in [0, height].

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.boxes import clip_boxes
    >>> boxes = np.array([[[-5.0, 0.0, 90.0, 30.0]]])
    >>> print(np.array(clip_boxes(boxes, np.array([[48, 64]]))))
    [[[ 0.  0. 64. 30.]]]
    """
    sizes = ops.cast(image_sizes, boxes.dtype)
    sizes = ops.reshape(sizes, (-1, *(1,) * (len(boxes.shape) - 2), 2))
    height, width = sizes[..., :1], sizes[..., 1:]
    limits = ops.concatenate([width, height, width, height], axis=-1)
    return ops.minimum(ops.maximum(boxes, 0), limits)


def encode_boxes(boxes, base, stds=(1.0, 1.0, 1.0, 1.0)):
    """Computes the deltas that lead from boxes to others (arXiv 1311.2524).

    dx = (centre - base centre) / base width / std, dw = log(width / base
    width) / std, and likewise dy, dh. A box or a base without area, which
    only filling has, gives zeros.

    Args:
        boxes: Tensor `(..., 4)`: what is to be reached.
        base: Tensor `(..., 4)`: anchors or proposals.
        stds: Four standard deviations, by which the deltas are divided.

    Returns:
        Tensor `(..., 4)` of dx, dy, dw, dh.
    """
    x, y, width, height = centres_and_sizes(boxes)
    base_x, base_y, base_width, base_height = centres_and_sizes(base)
    real = (width > 0) & (height > 0) & (base_width > 0) & (base_height > 0)

    def positive(size):
        return ops.where(real, size, 1)

    deltas = [
        (x - base_x) / positive(base_width),
        (y - base_y) / positive(base_height),
        ops.log(positive(width) / positive(base_width)),
        ops.log(positive(height) / positive(base_height)),
    ]
    deltas = ops.stack([ops.where(real, d, 0) for d in deltas], axis=-1)
    return deltas / ops.convert_to_tensor(stds, deltas.dtype)


def decode_boxes(deltas, base, stds=(1.0, 1.0, 1.0, 1.0), image_sizes=None):
    """Applies predicted deltas to boxes; the inverse of `encode_boxes`.

    dw and dh (times std) are clamped to +- `MAX_LOG_RATIO`; dx and dy are not.
    It carries the gradient of `deltas`.

    Args:
        deltas: Tensor `(..., 4)` of dx, dy, dw, dh.
        base: Tensor `(..., 4)`: anchors or proposals; broadcast against
            `deltas` (classes: `base[:, :, None]`).
        stds: Four standard deviations, by which the deltas are multiplied.
        image_sizes: Tensor `(batch, 2)` to clip the result to; `None` (the
            default) does not clip.

    Returns:
        Tensor `(..., 4)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.boxes import decode_boxes, encode_boxes
    >>> anchor = np.array([[0.0, 0.0, 16.0, 16.0]], "float32")
    >>> box = np.array([[4.0, 0.0, 12.0, 32.0]], "float32")
    >>> deltas = encode_boxes(box, anchor)
    >>> print(np.array(deltas).round(3))
    [[ 0.     0.5   -0.693  0.693]]
    >>> print(np.array(decode_boxes(deltas, anchor)).round(3))
    [[ 4.  0. 12. 32.]]
    """
    deltas = deltas * ops.convert_to_tensor(stds, deltas.dtype)
    dx, dy, dw, dh = corners(deltas)
    base_x, base_y, base_width, base_height = centres_and_sizes(base)
    x, y = base_x + dx * base_width, base_y + dy * base_height
    dw, dh = (ops.clip(d, -MAX_LOG_RATIO, MAX_LOG_RATIO) for d in (dw, dh))
    width, height = base_width * ops.exp(dw), base_height * ops.exp(dh)
    boxes = ops.stack(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2],
        axis=-1,
    )
    return boxes if image_sizes is None else clip_boxes(boxes, image_sizes)


def corners(boxes):
    """Takes the four numbers of boxes apart.

    Args:
        boxes: Tensor `(..., 4)`.

    Returns:
        Tuple of four tensors `(...)`: x1, y1, x2, y2.
    """
    return tuple(boxes[..., i] for i in range(4))


def centres_and_sizes(boxes):
    """Computes centres and sizes.

    Args:
        boxes: Tensor `(..., 4)`.

    Returns:
        Tuple of four tensors `(...)`: x and y of the centre, width, height.
    """
    x1, y1, x2, y2 = corners(boxes)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
