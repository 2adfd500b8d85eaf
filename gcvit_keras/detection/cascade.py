"""The stages of the cascade (Cascade R-CNN, arXiv 1712.00726)."""

from dataclasses import dataclass

from keras import ops

from gcvit_keras.detection.boxes import decode_boxes
from gcvit_keras.detection.roi_losses import of_class


@dataclass(frozen=True)
class Stage:
    """Settings of a stage, which scores and moves the proposals.

    Attributes:
        iou_threshold: Overlap from which a proposal is an object in training.
        low_quality: Whether the best proposal of each ground truth is one in
            any case, from that overlap on.
        stds: Standard deviations of the deltas dx, dy, dw, dh.
        loss_weight: Factor of the stage's losses.
    """

    iou_threshold: float
    low_quality: bool
    stds: tuple[float, float, float, float]
    loss_weight: float = 1.0


ONE_STAGE = (Stage(0.5, True, (0.1, 0.1, 0.2, 0.2)),)
"""The only stage of Mask R-CNN."""

THREE_STAGES = (
    Stage(0.5, False, (0.1, 0.1, 0.2, 0.2)),
    Stage(0.6, False, (0.05, 0.05, 0.1, 0.1), 0.5),
    Stage(0.7, False, (0.033, 0.033, 0.067, 0.067), 0.25),
)
"""The stages of the cascade, each asking for more overlap in training."""


def refine(boxes, logits, deltas, image_sizes, stds, classes=None):
    """Moves each region by the deltas of its class, for the next stage.

    Args:
        boxes: Float tensor `(batch, n, 4)`.
        logits: Float tensor `(batch, n, classes + 1)`, the background last.
        deltas: Float tensor `(batch, n, classes, 4)`.
        image_sizes: Integer tensor `(batch, 2)` of heights and widths.
        stds: Four standard deviations of the deltas.
        classes: Integer tensor `(batch, n)`: true classes, in training, the
            background being the last. Where there is none, and for the
            background, it is the class of the largest logit.

    Returns:
        Float tensor `(batch, n, 4)`, without gradient.
    """
    best = ops.cast(ops.argmax(logits[..., :-1], axis=-1), "int32")
    if classes is not None:
        background = ops.shape(logits)[-1] - 1
        best = ops.where(classes == background, best, classes)
    moved = decode_boxes(of_class(deltas, best), boxes, stds, image_sizes)
    return ops.stop_gradient(moved)
