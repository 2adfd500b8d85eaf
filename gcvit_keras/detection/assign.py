"""Assignment: which ground truth a box has to find, by overlap.

Codes of an assignment: -2 takes no part, -1 neither object nor background,
0 background, i + 1 the ground truth i.
"""


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
    """
    raise NotImplementedError
