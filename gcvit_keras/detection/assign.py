"""Assignment: which ground truth a box has to find, by overlap.

Codes of an assignment: -2 takes no part, -1 neither object nor background,
0 background, i + 1 the ground truth i.
"""

from keras import ops

from gcvit_keras.detection.boxes import box_iou

NO_PART, NEITHER, BACKGROUND = -2, -1, 0


def assign(
    boxes,
    objects,
    valid_objects,
    *,
    positive_iou,
    negative_iou,
    low_quality_iou=None,
    valid=None,
):
    """Assigns each box to the ground truth that it overlaps most.

    Largest IoU < `negative_iou`: background. >= `positive_iou`: the best
    ground truth, the first of equal ones. Then, with `low_quality_iou`, each
    ground truth in order, if its best IoU is at least that, takes ALL boxes
    that have exactly its best IoU; later ones overwrite (Faster R-CNN, arXiv
    1506.01497, section 3.1.2; mmdet's `MaxIoUAssigner`).

    Args:
        boxes: Tensor `(batch, n, 4)`, or `(n, 4)` for anchors.
        objects: Tensor `(batch, m, 4)`: ground truth, filled up.
        valid_objects: Boolean tensor `(batch, m)`.
        positive_iou: IoU from which a box is an object.
        negative_iou: IoU below which a box is background.
        low_quality_iou: Least best IoU of a ground truth that takes its best
            boxes whatever `positive_iou` says; `None` (the default): none does.
        valid: Boolean tensor `(batch, n)`: which boxes take part. Defaults to
            all.

    Returns:
        Tuple of the int32 tensor `(batch, n)` of codes and the float32 tensor
        `(batch, n)` of each box's largest IoU, 0 where it takes no part or
        there is no ground truth.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.assign import assign
    >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 3], [50, 50, 60, 60]])
    >>> objects = np.array([[[0, 0, 9, 8]]])
    >>> codes, iou = assign(
    ...     boxes,
    ...     objects,
    ...     np.array([[True]]),
    ...     positive_iou=0.7,
    ...     negative_iou=0.3,
    ... )
    >>> print(np.array(codes), np.array(iou).round(3))
    [[ 1 -1  0]] [[0.889 0.375 0.   ]]
    """
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    objects = ops.stop_gradient(ops.cast(objects, "float32"))
    if len(boxes.shape) == 2:
        boxes = boxes[None]
    takes_part = True if valid is None else valid
    last = ops.max(ops.where(valid_objects, _places(valid_objects), -1))

    def is_left(i, *state):
        return i <= last

    def meet_object(i, best_iou, best, taken):
        box = ops.take(objects, i, axis=1)[:, None]
        is_real = ops.take(valid_objects, i, axis=1)[:, None]
        iou = ops.where(takes_part & is_real, box_iou(boxes, box)[..., 0], -1)
        better = iou > best_iou
        best = ops.where(better, i + 1, best)
        best_iou = ops.where(better, iou, best_iou)
        if low_quality_iou is not None:
            largest = ops.max(iou, axis=1, keepdims=True)
            takes = (iou == largest) & (largest >= low_quality_iou)
            taken = ops.where(takes, i + 1, taken)
        return i + 1, best_iou, best, taken

    # One object at a time: the memory is that of the boxes, not of all pairs
    # of a quarter of a million anchors, and filling costs nothing.
    zeros = ops.zeros_like(objects[:, :1, 0] + boxes[..., 0])
    none = ops.cast(zeros, "int32")
    _, best_iou, best, taken = ops.while_loop(
        is_left,
        meet_object,
        (ops.zeros((), "int32"), zeros, ops.ones_like(none), none),
    )
    assigned = ops.where(best_iou < negative_iou, BACKGROUND, NEITHER)
    assigned = ops.where(best_iou >= positive_iou, best, assigned)
    assigned = ops.where(taken > 0, taken, assigned)
    assigned = ops.where(takes_part, assigned, NO_PART)
    return ops.cast(assigned, "int32"), best_iou


def _places(tensor):
    return ops.arange(ops.shape(tensor)[1])[None]
