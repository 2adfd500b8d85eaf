"""Losses of detectors, without reduction, in float32.

All return one value per element, row or box; who calls them weighs, adds up
and divides.
"""


def smooth_l1(predictions, targets, beta):
    """Computes 0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta.

    Args:
        predictions: Tensor of any shape.
        targets: Tensor of that shape.
        beta: Where the loss becomes linear; 0 makes it |d|.

    Returns:
        Float32 tensor of that shape.
    """
    raise NotImplementedError


def giou_loss(predictions, targets):
    """Computes 1 - GIoU of boxes (arXiv 1902.09630).

    Union and enclosing area are at least 1e-6.

    Args:
        predictions: Tensor `(..., 4)` of decoded boxes.
        targets: Tensor `(..., 4)`.

    Returns:
        Float32 tensor `(...)` in [0, 2].
    """
    raise NotImplementedError


def binary_cross_entropy(logits, targets):
    """Computes the cross entropy of independent two-way choices.

    Args:
        logits: Tensor of any shape.
        targets: Tensor of that shape, in [0, 1].

    Returns:
        Float32 tensor of that shape.
    """
    raise NotImplementedError


def cross_entropy(logits, classes):
    """Computes the softmax cross entropy.

    Args:
        logits: Tensor `(..., classes)`.
        classes: Integer tensor `(...)`.

    Returns:
        Float32 tensor `(...)`.
    """
    raise NotImplementedError
