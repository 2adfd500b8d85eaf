"""Samples: regions of interest that the heads learn from, and their targets."""

from typing import Any, NamedTuple

from keras import ops

from gcvit_keras.detection.assign import assign
from gcvit_keras.detection.sample import add_objects, sample_indices
from gcvit_keras.detection.shapes import sizes_by_content

REGIONS = 512
"""Regions per image that a stage learns from."""
MOST_OBJECTS = 128
"""Objects among them at most."""


class RoISamples(NamedTuple):
    """Regions that a stage learns from: objects first, then background.

    Attributes:
        boxes: Float tensor `(batch, n, 4)`; zeros where there are too few.
        is_object: Boolean tensor `(batch, n)`: which are objects.
        is_used: Boolean tensor `(batch, n)`: objects and background; the rest
            fills up.
        objects: Int32 tensor `(batch, n)`: index of each object's ground truth.
        classes: Int32 tensor `(batch, n)`: class of each object, `num_classes`
            for the background.
        targets: Float tensor `(batch, n, 4)`: each object's ground truth box.
        is_truth: Boolean tensor `(batch, n)`: which are ground truth boxes
            themselves, put among the proposals.
    """

    boxes: Any
    is_object: Any
    is_used: Any
    objects: Any
    classes: Any
    targets: Any
    is_truth: Any

    def objects_only(self):
        """Takes the objects, which are the first regions of each image.

        Returns:
            Tuple of boxes `(batch, m, 4)` and classes `(batch, m)`, m being
            the most objects that an image may have, or, where a graph may size
            itself by content, the most that one has.
        """
        m = MOST_OBJECTS
        if sizes_by_content():
            most = ops.max(ops.sum(ops.cast(self.is_object, "int32"), axis=1))
            m = ops.clip(most, 1, m)
        classes = ops.where(self.is_object, self.classes, 0)
        return self.boxes[:, :m], classes[:, :m]


def sample_rois(
    proposals,
    valid,
    targets,
    choose,
    *,
    num_classes,
    iou_threshold,
    low_quality,
):
    """Chooses regions to learn from among proposals and ground truth.

    Args:
        proposals: Float tensor `(batch, n, 4)`.
        valid: Boolean tensor `(batch, n)`: which proposals are real.
        targets: Dict of `"boxes"` `(batch, m, 4)` and `"classes"` `(batch,
            m)`, -1 where there is no object.
        choose: Function of `(candidates, wanted, limit)`; see
            `gcvit_keras.detection.sample`.
        num_classes: Classes without the background, an integer.
        iou_threshold: Overlap from which a proposal is an object, below which
            it is background.
        low_quality: Whether the best proposal of each ground truth is an
            object, if it overlaps it by the threshold at least.

    Returns:
        `RoISamples` of 512 regions per image, at most 128 objects among them.
    """
    boxes, classes = targets["boxes"], targets["classes"]
    real = classes >= 0
    codes, _ = assign(
        proposals,
        boxes,
        real,
        positive_iou=iou_threshold,
        negative_iou=iou_threshold,
        low_quality_iou=iou_threshold if low_quality else None,
        valid=valid,
    )
    candidates, codes = add_objects(boxes, real, proposals, valid, codes)
    chosen, is_object, is_background = sample_indices(
        codes, REGIONS, MOST_OBJECTS, choose
    )
    codes = ops.take_along_axis(codes, chosen, axis=1)
    objects = ops.where(is_object, codes - 1, 0)
    is_used = is_object | is_background
    chosen_boxes = ops.take_along_axis(candidates, chosen[..., None], axis=1)
    return RoISamples(
        boxes=ops.where(is_used[..., None], chosen_boxes, 0),
        is_object=is_object,
        is_used=is_used,
        objects=objects,
        classes=ops.where(
            is_object,
            ops.take_along_axis(ops.cast(classes, "int32"), objects, axis=1),
            num_classes,
        ),
        targets=ops.take_along_axis(boxes, objects[..., None], axis=1),
        is_truth=is_object & (chosen < ops.shape(boxes)[1]),
    )
