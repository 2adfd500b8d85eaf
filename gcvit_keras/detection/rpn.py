"""The region proposal network (Faster R-CNN, arXiv 1506.01497, section 3)."""

import keras
from keras import ops

from gcvit_keras.detection.anchors import (
    RATIOS,
    anchors_in_use,
    boxes_inside,
    pyramid_anchors,
)
from gcvit_keras.detection.assign import assign
from gcvit_keras.detection.average import count_rows, per_image
from gcvit_keras.detection.boxes import decode_boxes, encode_boxes
from gcvit_keras.detection.losses import binary_cross_entropy, smooth_l1
from gcvit_keras.detection.nms import non_max_suppression
from gcvit_keras.detection.sample import sample_mask

LEVELS = ("P2", "P3", "P4", "P5", "P6")
"""Maps that proposals are made from, from fine to coarse."""


@keras.saving.register_keras_serializable("gcvit_keras")
class RPNHead(keras.layers.Layer):
    """Scores and moves the anchors of every cell; one head for all levels.

    A 3x3 convolution with ReLU, then 1x1 convolutions to one logit and four
    deltas per anchor.

    Args:
        filters: Channels of the 3x3 convolution, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Dict of `"P2"` to `"P6"`, tensors `(batch, height, width,
            channels)`.

    Returns:
        Tuple of two dicts by level: logits `(batch, height, width, 3)` of the
        anchors of a cell, and deltas `(batch, height, width, 12)` of which
        channel 4 * anchor + i is dx, dy, dw or dh.

    Examples:
    >>> import keras
    >>> from gcvit_keras.detection import RPNHead
    >>> sides = {"P2": 16, "P3": 8, "P4": 4, "P5": 2, "P6": 1}
    >>> maps = {k: keras.ops.zeros((1, s, s, 8)) for k, s in sides.items()}
    >>> logits, deltas = RPNHead(filters=8)(maps)
    >>> print(tuple(logits["P2"].shape), tuple(deltas["P2"].shape))
    (1, 16, 16, 3) (1, 16, 16, 12)
    """

    def __init__(self, filters=256, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, inputs_shape):
        self.conv = self._conv("conv", self.filters, 3, activation="relu")
        self.objectness = self._conv("objectness", len(RATIOS), 1)
        self.deltas = self._conv("deltas", 4 * len(RATIOS), 1)
        self.conv.build(inputs_shape["P2"])
        self.objectness.build((None, None, None, self.filters))
        self.deltas.build((None, None, None, self.filters))

    def _conv(self, name, filters, size, **kwargs):
        return keras.layers.Conv2D(
            filters,
            size,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def call(self, inputs):
        logits, deltas = {}, {}
        for level in LEVELS:
            x = self.conv(inputs[level])
            logits[level] = self.objectness(x)
            deltas[level] = self.deltas(x)
        return logits, deltas

    def compute_output_shape(self, inputs_shape):
        logits = {k: (*inputs_shape[k][:3], len(RATIOS)) for k in LEVELS}
        return logits, {k: (*s[:3], 4 * s[3]) for k, s in logits.items()}

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def map_sizes(maps):
    """Lists height and width of the maps, a dict by level, from P2 to P6.

    They are scalar tensors where a graph does not know them.
    """
    return [tuple(ops.shape(maps[level])[1:3]) for level in LEVELS]


def anchor_rows(maps, values):
    """Lays maps out as one row per anchor, level after level.

    Of each anchor there are so many `values`: 1 logit, 4 deltas. The result is
    a float32 tensor `(batch, anchors of all levels, values)`.
    """
    rows = []
    for level in LEVELS:
        batch, height, width, channels = ops.shape(maps[level])
        count = height * width * (channels // values)
        x = ops.reshape(maps[level], (batch, count, values))
        rows.append(ops.cast(x, "float32"))
    return ops.concatenate(rows, axis=1)


def propose(logits, deltas, image_sizes, *, per_level=1000, max_count=1000):
    """Turns the head's maps into the boxes that are worth a second look.

    The best anchors of each level by score, moved and clipped to the image,
    those without area dropped; then suppression within each level, of boxes
    that overlap a better one by an IoU above 0.7.

    Args:
        logits: Dict by level, from `RPNHead`.
        deltas: Dict by level, from `RPNHead`.
        image_sizes: Integer tensor `(batch, 2)`: height and width of each
            image without its padding.
        per_level: Anchors of a level that are kept before suppression.
        max_count: Proposals per image at most.

    Returns:
        Tuple of the float32 tensors of boxes `(batch, max_count, 4)` and
        scores `(batch, max_count)`, in the order of falling score, and the
        boolean tensor `(batch, max_count)` of which are real; the others are
        zeros. None carries a gradient.
    """
    sizes = map_sizes(logits)
    counts = [height * width * len(RATIOS) for height, width in sizes]
    scores = ops.sigmoid(anchor_rows(logits, 1)[..., 0])
    deltas = anchor_rows(deltas, 4)
    anchors = pyramid_anchors(sizes)
    candidates, start = [], 0
    for group, count in enumerate(counts):
        rows = slice(start, start + count)
        start += count
        level = _best_of_level(
            scores[:, rows], deltas[:, rows], anchors[rows], count, per_level
        )
        groups = ops.full_like(level[0], group, dtype="int32")
        candidates.append((*level, groups))
    scores, deltas, anchors, groups = (
        ops.concatenate(parts, axis=1)
        for parts in zip(*candidates, strict=True)
    )
    boxes = decode_boxes(deltas, anchors, image_sizes=image_sizes)
    has_area = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    kept, count = non_max_suppression(
        boxes,
        scores,
        groups,
        iou_threshold=0.7,
        max_count=max_count,
        valid=has_area,
    )
    valid = ops.arange(max_count, dtype="int32") < count[:, None]
    boxes = ops.take_along_axis(boxes, kept[..., None], axis=1)
    scores = ops.take_along_axis(scores, kept, axis=1)
    boxes = ops.where(valid[..., None], boxes, 0)
    scores = ops.where(valid, scores, 0)
    return ops.stop_gradient(boxes), ops.stop_gradient(scores), valid


def _best_of_level(scores, deltas, anchors, count, per_level):
    """The best `per_level` anchors of one level, per image.

    Returns:
        Tuple of scores `(batch, n)`, deltas and anchors `(batch, n, 4)`.
    """
    anchors = ops.broadcast_to(anchors, ops.shape(deltas))
    is_known = isinstance(count, int)
    if is_known and count <= per_level:
        return scores, deltas, anchors
    # Python's integer where it may be, as JAX needs it to compile `top_k`.
    number = per_level if is_known else ops.minimum(count, per_level)
    scores, best = ops.top_k(scores, number)
    deltas = ops.take_along_axis(deltas, best[..., None], axis=1)
    anchors = ops.take_along_axis(anchors, best[..., None], axis=1)
    if is_known:
        return scores, deltas, anchors
    # Filled up with boxes without area: with a size that is known when a graph
    # is made, suppression is much faster.
    filling = ((0, 0), (0, per_level - number))
    scores = ops.reshape(ops.pad(scores, filling), (-1, per_level))
    deltas, anchors = (
        ops.reshape(ops.pad(x, (*filling, (0, 0))), (-1, per_level, 4))
        for x in (deltas, anchors)
    )
    return scores, deltas, anchors


def rpn_losses(
    logits,
    deltas,
    image_sizes,
    targets,
    choose,
    *,
    beta=0.0,
    inside_only=False,
):
    """Computes how far the head is from scoring and moving anchors right.

    An anchor is an object from an IoU of 0.7, and the best ones of each ground
    truth from 0.3; background below 0.3. Of each image 256 are learned from, at
    most 128 objects among them.

    Args:
        logits: Dict by level, from `RPNHead`.
        deltas: Dict by level, from `RPNHead`.
        image_sizes: Integer tensor `(batch, 2)` of heights and widths.
        targets: Dict of `"boxes"` `(batch, m, 4)` and `"classes"` `(batch,
            m)`, -1 where there is no object.
        choose: Function of `(candidates, wanted, limit)`; see
            `gcvit_keras.detection.sample`.
        beta: Of the smooth L1 loss of boxes; 0 makes it L1.
        inside_only: Whether anchors that cross the image's border take no
            part.

    Returns:
        Dict of `"rpn_cls"` and `"rpn_box"`, tensors `(batch,)` whose mean is
        the sum over all chosen anchors by their number.
    """
    sizes = map_sizes(logits)
    anchors = pyramid_anchors(sizes)
    padded_sizes = -(-image_sizes // 32) * 32
    in_use = anchors_in_use(sizes, padded_sizes)
    if inside_only:
        in_use = in_use & boxes_inside(anchors, image_sizes)
    codes, _ = assign(
        anchors,
        targets["boxes"],
        targets["classes"] >= 0,
        positive_iou=0.7,
        negative_iou=0.3,
        low_quality_iou=0.3,
        valid=in_use,
    )
    is_object, is_background = sample_mask(codes, 256, 128, choose)
    objects = ops.where(is_object, codes - 1, 0)
    boxes = ops.take_along_axis(targets["boxes"], objects[..., None], axis=1)
    cls = binary_cross_entropy(
        anchor_rows(logits, 1)[..., 0], ops.cast(is_object, "float32")
    )
    box = smooth_l1(anchor_rows(deltas, 4), encode_boxes(boxes, anchors), beta)
    number = ops.maximum(count_rows(is_object), 1)
    number = number + ops.maximum(count_rows(is_background), 1)
    return {
        "rpn_cls": per_image(cls, is_object | is_background, number),
        "rpn_box": per_image(ops.sum(box, axis=-1), is_object, number),
    }
