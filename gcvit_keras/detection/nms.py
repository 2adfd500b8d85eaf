"""Non-maximum suppression within groups (classes or levels)."""

import keras
from keras import ops

from gcvit_keras.detection.boxes import box_iou
from gcvit_keras.detection.shapes import sizes_by_content

PAIRS_LIMIT = 8192
"""Boxes up to which XLA may use TensorFlow's operation: it makes all pairs."""


def non_max_suppression(
    boxes,
    scores,
    groups,
    *,
    iou_threshold,
    max_count,
    valid=None,
):
    """Drops boxes that overlap a better box of their group too much.

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

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.nms import non_max_suppression
    >>> boxes = np.array([[[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 8.0]]])
    >>> kept, count = non_max_suppression(
    ...     boxes,
    ...     scores=np.array([[0.5, 0.9, 0.7]]),
    ...     groups=np.array([[0, 0, 1]]),
    ...     iou_threshold=0.5,
    ...     max_count=4,
    ... )
    >>> print(np.array(kept), np.array(count))
    [[1 2 0 0]] [2]
    """
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    scores = ops.stop_gradient(ops.cast(scores, "float32"))
    usable = ops.all(ops.isfinite(boxes), axis=-1) & ops.isfinite(scores)
    if valid is not None:
        usable = usable & valid
    boxes = ops.where(usable[..., None], boxes, 0)
    largest = ops.max(boxes, axis=(1, 2), keepdims=True)
    boxes += ops.cast(groups, "float32")[..., None] * (largest + 1)
    scores = ops.where(usable, scores, -float("inf"))

    n = boxes.shape[1]
    too_many = n is None or n > PAIRS_LIMIT
    if keras.backend.backend() != "tensorflow" or (
        too_many and not sizes_by_content()
    ):
        return _keep_by_steps(boxes, scores, iou_threshold, max_count)
    return _keep_by_tensorflow(boxes, scores, iou_threshold, max_count)


def _keep_by_tensorflow(boxes, scores, iou_threshold, max_count):
    """Keeps boxes, image by image; compiles under XLA, on all devices."""
    import tensorflow as tf

    # XLA fails where it may keep more boxes than there are.
    count = min(max_count, boxes.shape[1] or max_count)

    def keep(image):
        return tuple(
            tf.raw_ops.NonMaxSuppressionV4(
                boxes=image[0],
                scores=image[1],
                max_output_size=count,
                iou_threshold=iou_threshold,
                score_threshold=-float("inf"),
                pad_to_max_output_size=True,
            )
        )

    signature = (
        tf.TensorSpec((count,), "int32"),
        tf.TensorSpec((), "int32"),
    )
    kept, counts = tf.map_fn(
        keep, (boxes, scores), fn_output_signature=signature
    )
    in_use = ops.arange(count)[None] < counts[:, None]
    kept = ops.where(in_use, kept, 0)
    return ops.pad(kept, ((0, 0), (0, max_count - count))), counts


def _keep_by_steps(boxes, scores, iou_threshold, max_count):
    """Keeps the best box that is left, of all images at once, step by step.

    Time and memory grow with `max_count` times the boxes, not their square.
    """
    places = ops.arange(max_count)[None]
    n = ops.shape(scores)[1]
    index = ops.arange(n, dtype="int32")[None]
    kept = ops.zeros_like(scores[:, :1], "int32") + ops.zeros_like(places)

    def any_left(step, scores, kept, counts):
        return ops.any(ops.isfinite(scores))

    def keep_best(step, scores, kept, counts):
        # Not `ops.argmax`, of which ONNX has no counterpart: Keras looks at
        # the bits of zeros in it.
        top = ops.max(scores, axis=1, keepdims=True)
        best = ops.where(scores == top, index, n)
        best = ops.min(best, axis=1, keepdims=True)
        is_left = ops.isfinite(top)
        box = ops.take_along_axis(boxes, best[..., None], axis=1)
        overlaps = box_iou(box, boxes)[:, 0] > iou_threshold
        scores = ops.where(overlaps | (index == best), -float("inf"), scores)
        kept = ops.where((places == step) & is_left, best, kept)
        return step + 1, scores, kept, counts + ops.cast(is_left[:, 0], "int32")

    _, _, kept, counts = ops.while_loop(
        any_left,
        keep_best,
        (0, scores, kept, ops.zeros_like(kept[:, 0])),
        maximum_iterations=max_count,
    )
    return kept, counts
