"""Losses of detectors, without reduction, in float32.

All return one value per element, row or box; who calls them weighs, adds up
and divides.
"""

from keras import ops

from gcvit_keras.detection.boxes import SMALLEST_AREA, corners


def smooth_l1(predictions, targets, beta):
    """Computes 0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta.

    Args:
        predictions: Tensor of any shape.
        targets: Tensor of that shape.
        beta: Where the loss becomes linear; 0 makes it |d|.

    Returns:
        Float32 tensor of that shape.
    """
    error = ops.abs(_float(predictions) - _float(targets))
    if beta == 0:
        return error
    square = 0.5 * error * error / beta
    return ops.where(error < beta, square, error - 0.5 * beta)


def giou_loss(predictions, targets):
    """Computes 1 - GIoU of boxes (arXiv 1902.09630).

    Union and enclosing area are at least 1e-6.

    Args:
        predictions: Tensor `(..., 4)` of decoded boxes.
        targets: Tensor `(..., 4)`.

    Returns:
        Float32 tensor `(...)` in [0, 2].

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.losses import giou_loss
    >>> box = np.array([0.0, 0.0, 1.0, 1.0])
    >>> print(float(giou_loss(box, box)), float(giou_loss(box, box + 1)))
    0.0 1.5
    """
    x1, y1, x2, y2 = corners(_float(predictions))
    true_x1, true_y1, true_x2, true_y2 = corners(_float(targets))

    def area(width, height):
        return ops.maximum(width, 0) * ops.maximum(height, 0)

    shared = area(
        ops.minimum(x2, true_x2) - ops.maximum(x1, true_x1),
        ops.minimum(y2, true_y2) - ops.maximum(y1, true_y1),
    )
    around = area(
        ops.maximum(x2, true_x2) - ops.minimum(x1, true_x1),
        ops.maximum(y2, true_y2) - ops.minimum(y1, true_y1),
    )
    # As mmdet, whatever the order of corners: not `area`.
    union = (x2 - x1) * (y2 - y1) - shared
    union += (true_x2 - true_x1) * (true_y2 - true_y1)
    union = ops.maximum(union, SMALLEST_AREA)
    around = ops.maximum(around, SMALLEST_AREA)
    return 1 - shared / union + (around - union) / around


def binary_cross_entropy(logits, targets):
    """Computes the cross entropy of independent two-way choices.

    Args:
        logits: Tensor of any shape.
        targets: Tensor of that shape, in [0, 1].

    Returns:
        Float32 tensor of that shape.
    """
    return ops.binary_crossentropy(
        _float(targets), _float(logits), from_logits=True
    )


def cross_entropy(logits, classes):
    """Computes the softmax cross entropy.

    Args:
        logits: Tensor `(..., classes)`.
        classes: Integer tensor `(...)`.

    Returns:
        Float32 tensor `(...)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.losses import cross_entropy
    >>> print(f"{float(cross_entropy(np.zeros(4), np.array(2))):.3f}")
    1.386
    """
    # Filling may have any class, and its loss must be finite.
    classes = ops.clip(classes, 0, logits.shape[-1] - 1)
    return ops.sparse_categorical_crossentropy(
        classes, _float(logits), from_logits=True
    )


def _float(tensor):
    return ops.cast(tensor, "float32")
