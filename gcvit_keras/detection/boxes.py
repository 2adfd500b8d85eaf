"""Boxes: corners, sizes, overlap, and their coding relative to other boxes.

The convention of `gcvit_keras.detection`:

- A box is `x1, y1, x2, y2` in pixels of the network's input, float32; x to the
  right, y downwards, the pixel (0, 0) covering [0, 1] x [0, 1]. No "+ 1".
- Tensors come batch first, with the same number of boxes for each image:
  `(batch, n, 4)`. Missing ground truth is filled up with boxes of zeros and
  class -1: `valid_objects(classes)` tells which are real.
- `image_sizes` is `(batch, 2)`: height and width of each image, without the
  padding that a batch adds at the right and the bottom.
- Boxes carry no gradient unless a docstring says otherwise.
"""

import math

MAX_LOG_RATIO = abs(math.log(16 / 1000))
"""Largest |log| of a change of size that `decode_boxes` makes: 62.5 times."""


def valid_objects(classes):
    """Tells real ground truth from filling.

    Args:
        classes: Integer tensor `(batch, n)`, -1 where there is no object.

    Returns:
        Boolean tensor `(batch, n)`.
    """
    raise NotImplementedError


def box_areas(boxes):
    """Computes areas; 0 for boxes whose corners are in the wrong order.

    Args:
        boxes: Tensor `(..., 4)`.

    Returns:
        Tensor `(...)`, in square pixels.
    """
    raise NotImplementedError


def box_iou(boxes, others):
    """Computes the intersection over union of every pair.

    inter / max(union, 1e-6): a pair of boxes without area has 0.

    Args:
        boxes: Tensor `(..., n, 4)`.
        others: Tensor `(..., m, 4)`.

    Returns:
        Tensor `(..., n, m)` in [0, 1].
    """
    raise NotImplementedError


def clip_boxes(boxes, image_sizes):
    """Moves corners outside of the image onto its border.

    Args:
        boxes: Tensor `(batch, ..., 4)`.
        image_sizes: Tensor `(batch, 2)` of heights and widths.

    Returns:
        Tensor like `boxes`, x in [0, width] and y in [0, height].
    """
    raise NotImplementedError


def encode_boxes(boxes, base, stds=(1.0, 1.0, 1.0, 1.0)):
    """Expresses boxes as changes of other boxes (arXiv 1311.2524).

    dx = (centre - base centre) / base width / std, dw = log(width / base
    width) / std, and likewise dy, dh. A box or a base without area, which
    only filling has, gives zeros.

    Args:
        boxes: Tensor `(..., 4)`: what is to be reached.
        base: Tensor `(..., 4)`: anchors or proposals.
        stds: Four standard deviations, by which the changes are divided.

    Returns:
        Tensor `(..., 4)` of dx, dy, dw, dh.
    """
    raise NotImplementedError


def decode_boxes(deltas, base, stds=(1.0, 1.0, 1.0, 1.0), image_sizes=None):
    """Applies predicted changes to boxes; the inverse of `encode_boxes`.

    dw and dh (times std) are clamped to +- `MAX_LOG_RATIO`; dx and dy are not.
    It carries the gradient of `deltas`.

    Args:
        deltas: Tensor `(..., 4)` of dx, dy, dw, dh.
        base: Tensor `(..., 4)`: anchors or proposals; broadcast against
            `deltas` (classes: `base[:, :, None]`).
        stds: Four standard deviations, by which the changes are multiplied.
        image_sizes: Tensor `(batch, 2)` to clip the result to; `None` (the
            default) does not clip.

    Returns:
        Tensor `(..., 4)`.
    """
    raise NotImplementedError
