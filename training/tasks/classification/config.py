"""Settings of a classification run."""

from typing import Annotated, ClassVar, Literal

import pydantic
from pydantic_core import PydanticCustomError

from gcvit_keras.variants import VARIANTS
from gcvit_training.config import (
    IN_ORDER,
    DataConfig,
    NonNegative,
    Positive,
    PositiveShare,
    Probability,
    RunConfig,
    Share,
    Strict,
)
from gcvit_training.tasks.architecture import Architecture


def _height_and_width(size):
    sides = size if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(type(x) is int and x > 0 for x in sides):
        raise PydanticCustomError(
            "sides", "must be a positive integer or [height, width]"
        )
    return sides


Sides = Annotated[tuple[int, int], pydantic.BeforeValidator(_height_and_width)]
"""`(height, width)`; one number is both."""


class ImageDataConfig(DataConfig):
    """Images with labels, and how an image becomes the model's input.

    Attributes:
        dataset: `digits`; a name that TFDS knows; or a folder: one that TFDS
            wrote, class folders of images, or TFRecords with `labels.txt`.
            Splits are in TFDS's notation, such as `train[:90%]`.
        holdout: Share of every class that becomes `test` where a dataset is
            class folders without splits.
        image_size: Side in pixels of square images, or `[height, width]`.
        channels: 3 for RGB, 1 for grey.
        crop_ratio: Share of the side that evaluation sees. Default: the
            preset's or the variant's own, 1 for other models.
        crop_mode: Of `gcvit_keras.load_image`. Default: the preset's.
        interpolation: Of `gcvit_keras.load_image`. Default: the preset's.
    """

    holdout: Share = 0.1
    image_size: Sides
    channels: Literal[1, 3] = 3
    crop_ratio: PositiveShare | None = None
    crop_mode: Literal["center", "squash"] | None = None
    interpolation: Literal["bicubic", "bilinear"] | None = None

    @property
    def image_shape(self):
        """`(height, width, channels)` of the model's input."""
        return (*self.image_size, self.channels)

    @property
    def image_reader(self):
        """The `gcvit_keras.ImageReader` of evaluation."""
        from gcvit_keras import ImageReader  # imports Keras

        reader = ImageReader(self.image_size, channels=self.channels)
        return reader.replace(
            crop_ratio=self.crop_ratio,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
        )


class AugmentConfig(Strict):
    """How training images are varied.

    Attributes:
        layers: Augmentation of your own, done last, as `FILE.py:NAME` or
            `MODULE:NAME`: a Keras layer, a function from images `(1, height,
            width, channels)` to such images, or a list of them; or, if NAME
            begins with `make`, a function that returns these.
        crop_scale: Least and largest area of a random crop, as shares of the
            image's (RandomResizedCrop). `None` takes the whole image.
        crop_aspect: Least and largest width over height of that crop.
        flip: Probability of mirroring.
        rotation: Largest random rotation, as a share of a full turn.
        translation: Largest random shift, as a share of the sides.
        zoom: Largest random zoom, in or out.
        rand_augment_layers: Operations per image of RandAugment
            (arXiv 1909.13719); 0 for none.
        rand_augment_magnitude: Their strength, in [0, 10].
        rand_augment_std: Standard deviation of the strength.
        erasing: Probability of erasing a box (arXiv 1708.04896).
        mixup: Alpha of mixup (arXiv 1710.09412); 0 for none.
        cutmix: Alpha of CutMix (arXiv 1905.04899); 0 for none. With both,
            every batch is given one of them.
    """

    layers: str | None = None
    crop_scale: Annotated[tuple[(PositiveShare,) * 2], IN_ORDER] | None = None
    crop_aspect: Annotated[tuple[Positive, Positive], IN_ORDER] = (3 / 4, 4 / 3)
    flip: Probability = 0.0
    rotation: Share = 0.0
    translation: Share = 0.0
    zoom: Share = 0.0
    rand_augment_layers: pydantic.NonNegativeInt = 0
    rand_augment_magnitude: Annotated[float, pydantic.Field(ge=0, le=10)] = 9.0
    rand_augment_std: NonNegative = 0.5
    erasing: Probability = 0.0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0


class ModelConfig(Architecture):
    """The architecture and what it starts from.

    Either `variant`, or `embed_dim`, `depths`, `num_heads` and `mlp_ratio`,
    or `weights`, a `.keras` file of a GC ViT, which fixes these and
    `layer_scale`, `drop_path_rate` and `window_size`: they are `None` then.

    Attributes:
        variant: Name of a published variant.
        weights: A preset's name, the path of a checkpoint, or the path of a
            `.keras` file. The head is replaced where the classes differ.
        embed_dim: Of `gcvit_keras.GCViT`, as are the rest.
        depths: Blocks of each level.
        num_heads: Heads of each level.
        mlp_ratio: Width of the MLPs.
        layer_scale: Initial value of the layer scales.
        drop_path_rate: Stochastic depth. Default: the variant's own, or 0.
        window_size: Window of each level, a side or `[height, width]`.
        recompute: Whether each block's activations are computed again for
            the gradient, which takes less memory and more time.
        name: Name of the model.
    """

    VARIANT: ClassVar = "variant"

    variant: Literal[tuple(VARIANTS)] | None = None
    layer_scale: Positive | None = None
    drop_path_rate: Share | None = None
    window_size: tuple[Sides, Sides, Sides, Sides] | None = None
    recompute: bool = False
    name: str = "gcvit"

    @pydantic.model_validator(mode="after")
    def _layer_scale_is_the_variant_s(self):
        if self.variant is not None and self.layer_scale:
            raise ValueError(
                "`model.variant` fixes layer_scale: give one or the other"
            )
        return self


class ImageRunConfig(RunConfig):
    """One run that trains a GC ViT with a head on images.

    Attributes:
        data: What is trained on.
        augment: How training images are varied.
        model: The architecture.
    """

    data: ImageDataConfig
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig

    @pydantic.model_validator(mode="after")
    def _images_can_be_mixed(self):
        batch = self.data.batch_size
        if (self.augment.mixup or self.augment.cutmix) and batch % 2:
            raise ValueError(
                "`data.batch_size` must be even with `augment.mixup` or "
                f"`augment.cutmix`. Received: batch_size={batch}"
            )
        return self


class ClassificationConfig(ImageRunConfig):
    """One run that trains a classifier.

    Attributes:
        label_smoothing: Share of each label given to all classes, in the
            training loss only.
        class_weights: Weight of each class in the training loss, by name;
            1 for those not named. `balanced`: the inverse of how often a
            class is in the training split, on average 1 per image.
    """

    label_smoothing: Share = 0.1
    class_weights: dict[str, Positive] | Literal["balanced"] | None = None


def resolve(config):
    """Fills in what the preset or the variant sets."""
    from gcvit_keras.weights import find_preset  # imports Keras

    model, data = config.model, config.data
    variant = VARIANTS.get(model.variant)
    preset = None
    if variant and model.weights:
        preset = find_preset(model.variant, model.weights)
    how = {
        "crop_ratio": variant.crop_ratio if variant else 1.0,
        "crop_mode": "center",
        "interpolation": "bicubic",
    }
    if preset:
        how = {name: getattr(preset, name) for name in how}
    how = {
        name: value
        for name, value in how.items()
        if getattr(data, name) is None
    }
    update = {"data": data.model_copy(update=how)}
    if model.drop_path_rate is None and not model.is_keras_file:
        rate = variant.drop_path_rate if variant else 0.0
        update["model"] = model.model_copy(update={"drop_path_rate": rate})
    return config.model_copy(update=update)
