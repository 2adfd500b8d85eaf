"""Settings of a segmentation run."""

from typing import Annotated, Literal

import pydantic

from gcvit_keras.variants import VARIANTS
from gcvit_training.config import (
    IN_ORDER,
    DataConfig,
    FourPositive,
    NonNegative,
    Positive,
    PositiveShare,
    Probability,
    RunConfig,
    Share,
    Strict,
)
from gcvit_training.tasks.architecture import Architecture

FourPools = Annotated[
    tuple[pydantic.NonNegativeInt, ...],
    pydantic.Field(min_length=4, max_length=4),
]


class SegmentationDataConfig(DataConfig):
    """Images with label maps, and how they are trained on and measured.

    A label map is a PNG of one number per pixel, its grey level or the index
    of its colour in the palette. 255 is no class: not learned, not measured.

    Attributes:
        dataset: A folder with ADE20K's, Cityscapes', Pascal VOC's or COCO's
            layout, or `images/SPLIT` beside `labels/SPLIT`; or a name that
            TFDS knows. `train` finds `training`, too.
        holdout: Share of the images that becomes `test` where a dataset has no
            splits.
        classes: Number of classes where no file of the dataset names them.
        reduce_zero_label: Whether 0 is no class and the others count from 1,
            as in ADE20K.
        crop_size: Side in pixels of the square crops that are trained on.
        short_side: Pixels that the shorter side of an image is resized to for
            measuring, at scale 1; `None` leaves images as they are.
        long_side: Pixels that the longer side does not exceed then, for which
            the shorter one gets shorter.
        largest_side: Longest side of a label map that is measured as it is;
            larger ones are reduced, and their images, too.
        window: Side of the windows that slide over an image, and whose logits
            are averaged where they overlap; `None` computes it whole.
        stride: Pixels from window to window. Default: two thirds of `window`.
        scales: Factors on the measured size; of several, the probabilities
            are averaged.
        flips: Whether images are measured mirrored as well.
    """

    holdout: Share = 0.1
    classes: pydantic.PositiveInt | None = None
    reduce_zero_label: bool = False
    crop_size: pydantic.PositiveInt = 512
    short_side: pydantic.PositiveInt | None = 512
    long_side: pydantic.PositiveInt = 2048
    largest_side: pydantic.PositiveInt = 2048
    window: pydantic.PositiveInt | None = None
    stride: pydantic.PositiveInt | None = None
    scales: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (
        1.0,
    )
    flips: bool = False

    @pydantic.model_validator(mode="after")
    def _sides_are_in_order(self):
        if self.short_side and self.long_side < self.short_side:
            raise ValueError(
                "`data.long_side` must be at least `data.short_side`. "
                f"Received: long_side={self.long_side}, "
                f"short_side={self.short_side}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _windows_cover_the_image(self):
        if self.stride and self.stride > (self.window or 0):
            raise ValueError(
                "`data.stride` must be at most `data.window`. Received: "
                f"stride={self.stride}, window={self.window}"
            )
        return self


class SegmentationAugmentConfig(Strict):
    """How training images are varied.

    Attributes:
        scale: Least and largest factor on the size that an image is measured
            in, before it is cropped.
        class_share: Share of a crop above which one class is too much: up to
            ten crops are drawn until it is not.
        flip: Probability of mirroring.
        brightness: Largest shift, as a share of 255; each of these four with
            probability 0.5.
        contrast: Largest change of the factor on all pixels.
        saturation: Largest change of the factor on the saturation.
        hue: Largest shift of the hue, as a share of the circle.
    """

    scale: Annotated[tuple[Positive, Positive], IN_ORDER] = (0.5, 2.0)
    class_share: PositiveShare = 0.75
    flip: Probability = 0.5
    brightness: Share = 32 / 255
    contrast: Share = 0.5
    saturation: Share = 0.5
    hue: Annotated[float, pydantic.Field(ge=0, le=0.5)] = 0.05


class SegmentationModelConfig(Architecture):
    """The segmenter and what it starts from.

    Either `backbone`, or the sizes of `Architecture`.

    Attributes:
        backbone: Name of a published variant.
        backbone_weights: A preset's name, the path of a classifier's
            checkpoint, or `None`. Not used with `weights`.
        weights: Path of a checkpoint of a whole segmenter, or of a `.keras`
            file; a `.keras` file's classifier is replaced where the classes
            differ, and other settings must be its own where they are not
            `None`.
        window_size: Sides of the windows. Default: those of `UPerNet`.
        query_pools: How often each level's query generator halves its map.
            Default: the classifiers'; 3, 2, 1 and 0 for a checkpoint around
            the official detection backbone, whose tensors do not tell.
        drop_path_rate: Stochastic depth. Default: the variant's own, or 0.
        channels: Channels of all convolutions of the head.
        auxiliary: Whether there is an auxiliary head on the third map.
        auxiliary_channels: Channels of its convolution.
        dropout: Share of the channels that are dropped before the classifier.
        auxiliary_weight: Factor on the auxiliary head's loss.
        name: Name of the model.
    """

    backbone: Literal[tuple(VARIANTS)] | None = None
    backbone_weights: str | None = None
    window_size: FourPositive | None = None
    query_pools: FourPools | None = None
    drop_path_rate: Share | None = None
    channels: pydantic.PositiveInt = 512
    auxiliary: bool = True
    auxiliary_channels: pydantic.PositiveInt = 256
    dropout: Share = 0.1
    auxiliary_weight: NonNegative = 0.4
    name: str = "upernet"


class SegmentationConfig(RunConfig):
    """One run that trains a segmenter.

    Attributes:
        data: What is trained on.
        augment: How training images are varied.
        model: The segmenter.
    """

    data: SegmentationDataConfig
    augment: SegmentationAugmentConfig = SegmentationAugmentConfig()
    model: SegmentationModelConfig

    @pydantic.model_validator(mode="after")
    def _fits_a_segmenter(self):
        optimizer = self.optimizer
        if optimizer.layer_decay != 1:
            raise ValueError(
                "`optimizer.layer_decay` must be 1 for this task. Received: "
                f"layer_decay={optimizer.layer_decay}"
            )
        return self
