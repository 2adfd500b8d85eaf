"""Final detections: scores and boxes of the box head, suppressed by class."""

from keras import ops

from gcvit_keras.detection.boxes import decode_boxes
from gcvit_keras.detection.nms import non_max_suppression


def best_detections(
    logits,
    deltas,
    proposals,
    valid,
    image_sizes,
    *,
    stds,
    score_threshold=0.05,
    iou_threshold=0.5,
    max_count=100,
):
    """Chooses the best boxes of each image over all classes.

    Every proposal gives a box per class. Those of a probability above the
    threshold go through suppression within their class.

    Args:
        logits: Float tensor `(batch, n, classes + 1)`, the background last.
        deltas: Float tensor `(batch, n, classes, 4)`.
        proposals: Float tensor `(batch, n, 4)` that the deltas are relative to.
        valid: Boolean tensor `(batch, n)`: which proposals are real.
        image_sizes: Integer tensor `(batch, 2)` of heights and widths.
        stds: Four standard deviations of the deltas.
        score_threshold: Probability that a detection has to exceed.
        iou_threshold: Overlap above which the worse box is dropped.
        max_count: Detections per image at most.

    Returns:
        Tuple of boxes `(batch, max_count, 4)`, scores `(batch, max_count)` in
        the order of falling score, int32 classes `(batch, max_count)` and
        int32 counts `(batch,)`. Beyond the count boxes and scores are 0 and
        classes -1.
    """
    scores = ops.softmax(ops.cast(logits, "float32"))[..., :-1]
    batch, n, num_classes = ops.shape(scores)
    classes = ops.broadcast_to(
        ops.arange(num_classes, dtype="int32"), ops.shape(scores)
    )
    # Of probabilities above 1 / k there are at most k: nothing is lost.
    most = int(1 / score_threshold) if score_threshold > 0 else num_classes
    if most < num_classes:
        scores, classes = ops.top_k(scores, most)
        deltas = ops.take_along_axis(deltas, classes[..., None], axis=2)
        num_classes = most
    boxes = decode_boxes(deltas, proposals[:, :, None], stds, image_sizes)
    is_detection = (scores > score_threshold) & valid[..., None]

    rows = n * num_classes
    boxes = ops.reshape(boxes, (batch, rows, 4))
    scores = ops.reshape(scores, (batch, rows))
    classes = ops.reshape(classes, (batch, rows))
    kept, count = non_max_suppression(
        boxes,
        scores,
        classes,
        iou_threshold=iou_threshold,
        max_count=max_count,
        valid=ops.reshape(is_detection, (batch, rows)),
    )
    real = ops.arange(max_count, dtype="int32") < count[:, None]
    boxes = ops.take_along_axis(boxes, kept[..., None], axis=1)
    scores = ops.take_along_axis(scores, kept, axis=1)
    classes = ops.take_along_axis(classes, kept, axis=1)
    return (
        ops.where(real[..., None], boxes, 0),
        ops.where(real, scores, 0),
        ops.where(real, classes, -1),
        count,
    )
