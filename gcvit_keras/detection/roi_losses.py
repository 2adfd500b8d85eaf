"""Losses of the heads that look at regions: class, box and mask."""

from keras import ops

from gcvit_keras.detection.average import count_rows, per_image
from gcvit_keras.detection.boxes import decode_boxes, encode_boxes
from gcvit_keras.detection.losses import (
    binary_cross_entropy,
    cross_entropy,
    giou_loss,
    smooth_l1,
)
from gcvit_keras.detection.masks import box_mask_targets, mask_targets


def class_loss(logits, samples):
    """Averages the softmax cross entropy over all regions of the batch.

    Logits `(batch, n, classes + 1)` of `RoISamples` give a float32 tensor
    `(batch,)`; see `per_image`.
    """
    values = cross_entropy(logits, samples.classes)
    return per_image(values, samples.is_used, count_rows(samples.is_used))


def box_loss(deltas, samples, *, stds, giou):
    """Sums the objects' box losses and divides by the number of all regions.

    Args:
        deltas: Float tensor `(batch, n, classes, 4)`.
        samples: `RoISamples`.
        stds: Four standard deviations of the deltas.
        giou: Whether the loss is ten times the GIoU loss of the boxes (as in
            the cascade), or the L1 loss of the deltas.

    Returns:
        Float32 tensor `(batch,)`; see `per_image`.
    """
    deltas = of_class(deltas, samples.classes)
    if giou:
        # Filling has no area; its loss does not count, but its gradient must
        # be a number.
        boxes = decode_boxes(deltas, samples.boxes, stds)
        values = 10 * giou_loss(boxes, samples.targets)
    else:
        targets = encode_boxes(samples.targets, samples.boxes, stds)
        values = ops.sum(smooth_l1(deltas, targets, 0.0), axis=-1)
    return per_image(values, samples.is_object, count_rows(samples.is_used))


def mask_loss(logits, samples, targets):
    """Averages the binary cross entropy over all objects and pixels.

    Logits `(batch, n, 28, 28)` of the first n of the `RoISamples`, and targets
    from `prepare_targets`, give a float32 tensor `(batch,)`; see `per_image`.
    """
    n, size = ops.shape(logits)[1:3]
    is_object = samples.is_object[:, :n]
    boxes, objects = samples.boxes[:, :n], samples.objects[:, :n]
    if "masks" in targets:
        wanted = mask_targets(targets["masks"], boxes, objects, size)
    else:
        wanted = box_mask_targets(
            targets["box_masks"], targets["boxes"], boxes, objects, size
        )
    values = ops.mean(binary_cross_entropy(logits, wanted), axis=(2, 3))
    return per_image(values, is_object, count_rows(is_object))


def of_class(values, classes):
    """Picks the row `(batch, n, 4)` of one class from each region's.

    `values` is `(batch, n, classes, 4)`; a class `(batch, n)` that there is no
    row of, such as the background, gives zeros.
    """
    count = ops.shape(values)[2]
    # PyTorch refuses a class that is too large, no backend a negative one.
    classes = ops.where(classes < count, classes, -1)
    choice = ops.one_hot(classes, count, dtype=values.dtype)
    return ops.sum(values * choice[..., None], axis=2)
