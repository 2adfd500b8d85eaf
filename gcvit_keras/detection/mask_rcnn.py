"""Mask R-CNN (arXiv 1703.06870) and Cascade Mask R-CNN (arXiv 1906.09756)."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.detection.box_head import BoxHead, ConvBoxHead
from gcvit_keras.detection.cascade import ONE_STAGE, THREE_STAGES, refine
from gcvit_keras.detection.detections import best_detections
from gcvit_keras.detection.detector import Detector
from gcvit_keras.detection.fpn import FeaturePyramid
from gcvit_keras.detection.inputs import (
    fill_padding,
    padding_pixel,
    prepare_targets,
    split_inputs,
)
from gcvit_keras.detection.mask_head import MaskHead
from gcvit_keras.detection.region_losses import region_losses
from gcvit_keras.detection.regions import by_image, read_regions
from gcvit_keras.detection.rpn import RPNHead, propose, rpn_losses
from gcvit_keras.detection.sample import random_choice
from gcvit_keras.models.pyramid import pyramid_backbone
from gcvit_keras.weights.mmdet import load_detector

FEATURES = ("pyramid", "logits", "deltas", "sizes")
"""Keys of what `features` returns."""


@keras.saving.register_keras_serializable("gcvit_keras")
class MaskRCNN(Detector):
    """Mask R-CNN on GC ViT: boxes, classes and masks of the objects in images.

    The parts are the layers `backbone`, `neck`, `rpn_head`, `box_head` and
    `mask_head`; to freeze one, `model.get_layer("neck").trainable = False`.

    Args:
        backbone: Name of a variant, such as `"tiny"`, for the official
            detection backbone (windows of 24 at each level); or a
            `GCViTBackbone`.
        num_classes: Classes without the background, an integer.
        weights: `None` for random heads; or the path of a checkpoint of the
            whole detector: `.safetensors` or `.pth` in mmdet's naming, or
            Keras's `.weights.h5`.
        backbone_weights: What a backbone that is given by name starts from: a
            preset of its classifier (default `"imagenet"`), the path of a
            classifier's checkpoint, of which position tables are resized, or
            `None` for random values. Not used with `weights`.
        fpn_channels: Channels of the feature pyramid and of the convolutions
            of all heads, an integer.
        fc_channels: Width of the dense layers of the box head, an integer.
        score_threshold: Probability that a detection has to exceed, in [0, 1).
        iou_threshold: Overlap above which the worse of two detections of one
            class is dropped, in [0, 1].
        max_detections: Detections per image at most, an integer.
        seed: Integer that the random choice of regions to learn from starts
            from, or `None` for another each time.
        name: Name of the model.
        **kwargs: Of `keras.Model`, such as `dtype`.

    Call arguments:
        inputs: Images, a tensor `(batch, height, width, 3)` of RGB pixels in
            [0, 255]; or a dict of `"images"` and `"sizes"`, integers `(batch,
            2)`: height and width of each image without the padding at its
            right and bottom; with `"targets"`, see `losses`, in it the model
            returns losses, as `fit` asks for them.
        training: Whether drop path drops and batch norm follows.

    Returns:
        Dict of `"boxes"` `(batch, max_detections, 4)`, x1, y1, x2, y2 in
        pixels of the images; `"scores"` `(batch, max_detections)` in falling
        order; `"classes"`, int32; `"masks"` `(batch, max_detections, 28, 28)`,
        probabilities over the box, for `paste_masks`; and `"count"` `(batch,)`
        of how many are real. The rest is 0, and class -1.

    Raises:
        ValueError: For an argument out of range, or a checkpoint that does not
            fit.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras import GCViTBackbone
    >>> from gcvit_keras.detection import MaskRCNN
    >>> backbone = GCViTBackbone(
    ...     embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    ...     mlp_ratio=1, level_norms=True,
    ... )
    >>> model = MaskRCNN(backbone, 3, fpn_channels=8, fc_channels=8)
    >>> detections = model(np.zeros((1, 64, 96, 3), "uint8"))
    >>> detections["masks"].shape
    TensorShape([1, 100, 28, 28])
    """

    stages = ONE_STAGE
    giou = False  # else L1
    rpn_beta = 0.0
    rpn_inside_only = False
    training_proposals = 1000

    def __init__(
        self,
        backbone="tiny",
        num_classes=80,
        *,
        weights=None,
        backbone_weights="imagenet",
        fpn_channels=256,
        fc_channels=1024,
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        seed=None,
        name="mask_rcnn",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.num_classes = checks.integer("num_classes", num_classes)
        self.fpn_channels = checks.integer("fpn_channels", fpn_channels)
        self.fc_channels = checks.integer("fc_channels", fc_channels)
        self.max_detections = checks.integer("max_detections", max_detections)
        self.score_threshold = checks.number(
            "score_threshold",
            score_threshold,
            "in [0, 1)",
            lambda x: 0 <= x < 1,
        )
        self.iou_threshold = checks.number(
            "iou_threshold", iou_threshold, "in [0, 1]", lambda x: 0 <= x <= 1
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.backbone = pyramid_backbone(
            backbone,
            window_size=(24, 24, 24, 24),
            query_pools=(3, 2, 1, 0),
            weights=backbone_weights if weights is None else None,
            dtype=self.dtype_policy,
        )
        self._build_parts()
        if weights is not None:
            load_detector(self, weights)

    def _build_parts(self):
        width, dtype = self.fpn_channels, self.dtype_policy
        self.neck = FeaturePyramid(width, name="neck", dtype=dtype)
        self.rpn_head = RPNHead(width, name="rpn_head", dtype=dtype)
        self.box_heads, self.mask_heads = [], []
        names = ["rpn_cls", "rpn_box"]
        for i in range(len(self.stages)):
            box_head = self._make_box_head(self._numbered("box_head", i))
            box_head.build((None, 7, 7, width))
            self.box_heads.append(box_head)
            mask_head = MaskHead(
                self.num_classes,
                width,
                name=self._numbered("mask_head", i),
                dtype=dtype,
            )
            mask_head.build((None, 14, 14, width))
            self.mask_heads.append(mask_head)
            names += [self.loss_name(i, n) for n in ("cls", "box", "mask")]
        maps = self.backbone.pyramid_outputs
        shapes = {level: x.shape for level, x in maps.items()}
        self.neck.build(shapes)
        self.rpn_head.build(self.neck.compute_output_shape(shapes))
        self.loss_means = {n: keras.metrics.Mean(name=n) for n in names}
        self.built = True

    def _make_box_head(self, name):
        return BoxHead(
            self.num_classes,
            self.fc_channels,
            name=name,
            dtype=self.dtype_policy,
        )

    def _numbered(self, name, stage):
        return f"{name}_{stage}" if len(self.stages) > 1 else name

    def loss_name(self, stage, name):
        """Names a loss of a stage: `"cls"`, or `"s1.cls"` of the cascade."""
        return f"s{stage}.{name}" if len(self.stages) > 1 else name

    def detections_from(self, features):
        """Computes the detections from features.

        Args:
            features: See `features`.

        Returns:
            Dict, as the model returns.
        """
        pyramid, logits, deltas, sizes = (features[k] for k in FEATURES)
        proposals, _, valid = propose(logits, deltas, sizes)
        boxes, scores, classes, count = self.detect_boxes(
            pyramid, proposals, valid, sizes
        )
        masks = self.predict_masks(pyramid, boxes, classes)
        return {
            "boxes": boxes,
            "scores": scores,
            "classes": classes,
            "masks": masks,
            "count": count,
        }

    def features(self, inputs, training=False):
        """Computes what proposals, detections and losses are made from.

        Args:
            inputs: As of the model.
            training: Whether drop path drops.

        Returns:
            Dict of `"pyramid"`, a dict of `"P2"` to `"P6"`; the region
            proposal network's `"logits"` and `"deltas"`, dicts like it; and
            the int32 `"sizes"` `(batch, 2)`.
        """
        images, sizes = split_inputs(inputs)
        whole = ops.stack(ops.shape(images)[1:3])
        sizes = ops.minimum(sizes, ops.cast(whole, "int32"))
        images = fill_padding(images, sizes, padding_pixel(self.backbone))
        pyramid = self.neck(self.backbone(images, training=training))
        logits, deltas = self.rpn_head(pyramid)
        parts = (pyramid, logits, deltas, sizes)
        return dict(zip(FEATURES, parts, strict=True))

    def detect_boxes(self, pyramid, proposals, valid, sizes):
        """Looks at the proposals again, once per stage.

        Args:
            pyramid: Dict of `"P2"` to `"P6"`, from `features`.
            proposals: Float tensor `(batch, n, 4)`.
            valid: Boolean tensor `(batch, n)`: which proposals are real.
            sizes: Integer tensor `(batch, 2)` of heights and widths.

        Returns:
            Tuple of boxes, scores, classes and count; see `best_detections`.
        """
        stage_logits = []
        for i, stage in enumerate(self.stages):
            logits, deltas = self.look(i, pyramid, proposals)
            stage_logits.append(logits)
            if stage is not self.stages[-1]:
                proposals = refine(proposals, logits, deltas, sizes, stage.stds)
        return best_detections(
            sum(stage_logits) / len(stage_logits),
            deltas,
            proposals,
            valid,
            sizes,
            stds=stage.stds,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_count=self.max_detections,
        )

    def look(self, stage, pyramid, boxes, training=False, is_used=None):
        """Scores and moves regions by the box head of one stage.

        Args:
            stage: Index of the stage, an integer.
            pyramid: Dict of `"P2"` to `"P6"`, from `features`.
            boxes: Float tensor `(batch, n, 4)`.
            training: Whether batch norm follows.
            is_used: Boolean tensor `(batch, n)`: which regions batch norm
                looks at; all by default.

        Returns:
            Tuple of logits `(batch, n, classes + 1)` and deltas `(batch, n,
            classes, 4)`.
        """
        rois = read_regions(pyramid, boxes, 7)
        if is_used is not None:
            is_used = ops.reshape(is_used, (-1,))
        outputs = self.box_heads[stage](
            rois, training=training, is_used=is_used
        )
        return tuple(by_image(output, boxes) for output in outputs)

    def predict_masks(self, pyramid, boxes, classes):
        """Predicts the mask of each detection within its box.

        Args:
            pyramid: Dict of `"P2"` to `"P6"`, from `features`.
            boxes: Float tensor `(batch, n, 4)`.
            classes: Integer tensor `(batch, n)`, -1 beyond the detections.

        Returns:
            Float32 tensor `(batch, n, 28, 28)` of probabilities, the mean of
            the stages'; 0 beyond the detections.
        """
        rois = read_regions(pyramid, boxes, 14)
        known = ops.reshape(ops.maximum(classes, 0), (-1,))
        masks = [ops.sigmoid(head(rois, known)) for head in self.mask_heads]
        masks = by_image(sum(masks) / len(masks), boxes)
        return ops.where((classes >= 0)[..., None, None], masks, 0)

    def losses_from(self, features, targets, training=True, choose=None):
        """Computes the losses from features.

        Args:
            features: See `features`.
            targets: See `losses`.
            training: Whether batch norm follows.
            choose: See `losses`.

        Returns:
            See `losses`.
        """
        pyramid, logits, deltas, sizes = (features[k] for k in FEATURES)
        targets = prepare_targets(targets, sizes, self.num_classes)
        choose = choose or random_choice(self.seed_generator)
        losses = rpn_losses(
            logits,
            deltas,
            sizes,
            targets,
            choose,
            beta=self.rpn_beta,
            inside_only=self.rpn_inside_only,
        )
        proposals, _, valid = propose(
            logits,
            deltas,
            sizes,
            per_level=2000,
            max_count=self.training_proposals,
        )
        return losses | region_losses(
            self, pyramid, proposals, valid, sizes, targets, choose, training
        )

    def get_config(self):
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "fpn_channels": self.fpn_channels,
            "fc_channels": self.fc_channels,
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("gcvit_keras")
class CascadeMaskRCNN(MaskRCNN):
    """Cascade Mask R-CNN on GC ViT: three looks at each region.

    Each stage starts from the boxes of the one before and asks for more
    overlap in training. The parts are the layers `backbone`, `neck`,
    `rpn_head`, `box_head_0` to `box_head_2` and `mask_head_0` to
    `mask_head_2`. Otherwise as `MaskRCNN`, with the same arguments and
    results.

    Examples:
    >>> from gcvit_keras import GCViTBackbone
    >>> from gcvit_keras.detection import CascadeMaskRCNN
    >>> backbone = GCViTBackbone(
    ...     embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    ...     mlp_ratio=1, level_norms=True,
    ... )
    >>> model = CascadeMaskRCNN(backbone, 3, fpn_channels=8, fc_channels=8)
    >>> model.get_layer("box_head_2").trainable = False
    """

    stages = THREE_STAGES
    giou = True
    rpn_beta = 1 / 9
    rpn_inside_only = True
    training_proposals = 2000

    def __init__(
        self,
        backbone="tiny",
        num_classes=80,
        *,
        name="cascade_mask_rcnn",
        **kwargs,
    ):
        super().__init__(backbone, num_classes, name=name, **kwargs)

    def _make_box_head(self, name):
        return ConvBoxHead(
            self.num_classes,
            self.fc_channels,
            self.fpn_channels,
            name=name,
            dtype=self.dtype_policy,
        )
