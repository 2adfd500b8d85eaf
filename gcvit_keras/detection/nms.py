"""Non-maximum suppression within groups (classes or levels)."""


def non_max_suppression(
    boxes, scores, groups, *, iou_threshold, max_count, valid=None
):
    """Keeps the boxes that no better box of their group overlaps too much.

    In the order of falling score, a box is dropped if its IoU with a kept one
    of its group is above `iou_threshold`. As mmcv's `batched_nms`, boxes are
    moved apart by group * (largest coordinate + 1) for that.

    Args:
        boxes: Tensor `(batch, n, 4)`.
        scores: Float tensor `(batch, n)`.
        groups: Integer tensor `(batch, n)`.
        iou_threshold: IoU above which a box is dropped, a float.
        max_count: Boxes to keep per image at most, an integer.
        valid: Boolean tensor `(batch, n)`: which boxes take part. Defaults to
            all. Boxes and scores that are not finite never take part.

    Returns:
        Tuple of the int32 tensor `(batch, max_count)` of indices in the order
        of falling score, filled up with 0, and the int32 tensor `(batch,)` of
        how many are kept.
    """
    raise NotImplementedError
