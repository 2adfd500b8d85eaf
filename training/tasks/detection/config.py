"""Settings of a run that trains a detector."""

from typing import Annotated, ClassVar, Literal

import pydantic

from gcvit_keras.variants import VARIANTS
from gcvit_training.config import (
    IN_ORDER,
    DataConfig,
    FourPositive,
    OptimizerConfig,
    Positive,
    Probability,
    RunConfig,
    Share,
    Strict,
)
from gcvit_training.tasks.architecture import Architecture

Side = Annotated[int, pydantic.Field(ge=32)]
Sides = Annotated[tuple[Side, ...], pydantic.Field(min_length=1)]
DIVISOR = 32
"""What sides of a batch are multiples of: the deepest level's stride."""
SHARES = (0.6, 0.8, 1.0)
"""Sides of the default buckets, by the largest ones."""


class DetectionDataConfig(DataConfig):
    """Images with objects, and how an image becomes the model's input.

    Attributes:
        dataset: A folder with COCO's JSON, Pascal VOC's or YOLO's files, or a
            name that TFDS knows.
        holdout: Share of the images that becomes `test` where a dataset has
            no splits.
        short_side: Length that evaluation resizes the shorter side to.
        long_side: Length that the longer side does not exceed then.
        buckets: Heights and widths that batches are padded to, each batch to
            the smallest that holds it; multiples of 32. Default: wide, tall
            and square ones, by the largest sides that there can be.
        max_objects: Objects per image that are learned, the largest ones.
        mask_cells: Side of the square in which an object's mask is kept for
            training, over the object's box.
        broken_share: Share of images, and of annotations, that may be
            unusable before a run stops.
    """

    holdout: Share = 0.1
    short_side: Side = 800
    long_side: Side = 1333
    buckets: tuple[tuple[Side, Side], ...] | None = None
    max_objects: pydantic.PositiveInt = 100
    mask_cells: Annotated[int, pydantic.Field(ge=28)] = 112

    @pydantic.model_validator(mode="after")
    def _images_are_read_in_their_own_order(self):
        if self.cache is not None or self.service is not None:
            name = "cache" if self.cache is not None else "service"
            raise ValueError(
                f"`data.{name}` must be null for this task, whose images are "
                "read in an order of their orientation. Received: "
                f"{name}={getattr(self, name)!r}"
            )
        if self.long_side < self.short_side:
            raise ValueError(
                "`data.long_side` must be at least `data.short_side`. "
                f"Received: long_side={self.long_side}, "
                f"short_side={self.short_side}"
            )
        return self


class DetectionAugmentConfig(Strict):
    """How training images are varied.

    Attributes:
        layers: Augmentation of your own, done last; see `classification`.
            Keras layers move boxes and masks with the image.
        flip: Probability of mirroring.
        policy: `resize`: the short side becomes one of `short_sides`. `paper`:
            half of the images are resized to one of `crop_short_sides` and
            cropped before that. `jitter`: large-scale jitter
            (arXiv 2012.07177): zoomed by one of `jitter`, and cropped to a
            square.
        short_sides: Lengths of the shorter side, each as likely.
        long_side: Length that the longer side does not exceed.
        crop_short_sides: Lengths of the shorter side before a crop.
        crop_sides: Least and largest side of that crop; not more than the
            image's.
        jitter: Least and largest factor of the jitter.
        jitter_side: Side of the jitter's square.
    """

    layers: str | None = None
    flip: Probability = 0.5
    policy: Literal["resize", "paper", "jitter"] = "resize"
    short_sides: Sides = (800,)
    long_side: Side = 1333
    crop_short_sides: Sides = (400, 500, 600)
    crop_sides: Annotated[tuple[Side, Side], IN_ORDER] = (384, 600)
    jitter: Annotated[tuple[Positive, Positive], IN_ORDER] = (0.1, 2.0)
    jitter_side: Side = 1024

    @pydantic.model_validator(mode="after")
    def _sides_are_in_order(self):
        if self.long_side < max(self.short_sides):
            raise ValueError(
                "`augment.long_side` must be at least the largest of "
                f"`augment.short_sides`. Received: long_side={self.long_side}"
            )
        return self


class DetectionModelConfig(Architecture):
    """The detector, and what it starts from.

    Attributes:
        detector: Mask R-CNN, or Cascade Mask R-CNN.
        backbone: Name of a published variant, or `None`, and then the sizes
            of `Architecture` say what the backbone is.
        window_size: Sides of the windows. Default: 24 at each level.
        drop_path_rate: Stochastic depth of the last block.
        backbone_weights: What a backbone given by name starts from: a preset
            of its classifier, or a checkpoint's path; `null` for nothing.
        weights: A checkpoint of a whole detector.
        fpn_channels: Channels of the pyramid and of the heads.
        fc_channels: Width of the dense layers of the box heads.
        name: Name of the model.
    """

    BRINGS_ITS_OWN: ClassVar = False

    detector: Literal["mask_rcnn", "cascade_mask_rcnn"] = "mask_rcnn"
    backbone: Literal[tuple(VARIANTS)] | None = None
    window_size: FourPositive = (24, 24, 24, 24)
    drop_path_rate: Share = 0.2
    backbone_weights: str | None = None
    fpn_channels: pydantic.PositiveInt = 256
    fc_channels: pydantic.PositiveInt = 1024
    name: str = "detector"

    @pydantic.model_validator(mode="after")
    def _weights_have_a_backbone(self):
        if self.backbone is None and self.backbone_weights:
            raise ValueError("`model.backbone_weights` needs `model.backbone`")
        return self


class DetectionOptimizerConfig(OptimizerConfig):
    """AdamW and its rate.

    Attributes:
        decay: What the weight decay leaves out. `meant`: norms and position
            tables, as the official settings say. `as_run`: what their rules
            match: norms but the batch norm of the heads, and for Mask R-CNN
            not the position tables.
    """

    decay: Literal["meant", "as_run"] = "meant"


class DetectionConfig(RunConfig):
    """One run that trains a detector.

    Attributes:
        jit_compile: Not for batches of several sizes, which XLA would compile
            anew for each.
        data: What is trained on.
        augment: How training images are varied.
        model: The detector.
        optimizer: AdamW and its rate.
    """

    jit_compile: Literal[False] = False
    data: DetectionDataConfig
    augment: DetectionAugmentConfig = DetectionAugmentConfig()
    model: DetectionModelConfig
    optimizer: DetectionOptimizerConfig

    @pydantic.model_validator(mode="after")
    def _fits_a_detector(self):
        optimizer = self.optimizer
        if optimizer.layer_decay != 1 or optimizer.freeze_epochs == self.epochs:
            raise ValueError(
                "`optimizer.layer_decay` must be 1, and "
                "`optimizer.freeze_epochs` below `epochs`, for this task. "
                f"Received: layer_decay={optimizer.layer_decay}, "
                f"freeze_epochs={optimizer.freeze_epochs}"
            )
        largest = self._largest
        for bucket in self.data.buckets or ():
            if any(side % DIVISOR for side in bucket):
                raise ValueError(
                    f"`data.buckets` must be multiples of {DIVISOR}. "
                    f"Received: {list(bucket)}"
                )
        if not any(min(bucket) >= largest for bucket in self.buckets):
            raise ValueError(
                f"`data.buckets` must have one of {largest} x {largest} at "
                "least, which holds every image. Received: "
                f"{[list(bucket) for bucket in self.buckets]}"
            )
        return self

    @property
    def _largest(self):
        """The longest side that an image can have."""
        augment = self.augment
        long = augment.long_side
        if augment.policy == "jitter":
            long = augment.jitter_side
        return max(long, self.data.long_side)

    @property
    def buckets(self):
        """Heights and widths of batches, the smallest first."""
        if self.data.buckets:
            return sorted(self.data.buckets, key=lambda b: (b[0] * b[1], b))
        augment, long = self.augment, self._largest
        short = max(self.data.short_side, *augment.short_sides)
        if augment.policy == "jitter":
            short = max(self.data.short_side, augment.jitter_side)
        sides = {
            pair
            for share in SHARES
            for pair in (
                (share * short, share * long),
                (share * long, share * short),
            )
        }
        sides |= {(short, short), (long, long)}
        rounded = {
            tuple(-(-int(side + 0.5) // DIVISOR) * DIVISOR for side in pair)
            for pair in sides
        }
        return sorted(rounded, key=lambda b: (b[0] * b[1], b))

    @property
    def canvas(self):
        """Height and width that hold an image of any batch."""
        return tuple(max(b[axis] for b in self.buckets) for axis in (0, 1))
