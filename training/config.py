"""What a training run is made of, as validated data from YAML."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml

from gcvit_keras.variants import VARIANTS

RECIPES = Path(__file__).parent / "tasks" / "classification" / "recipes"
"""Folder of the recipes that are shipped."""

FourPositive = tuple[
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
]
Finite = pydantic.Field(allow_inf_nan=False)
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]
Probability = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[pydantic.PositiveFloat, Finite]
NonNegative = Annotated[pydantic.NonNegativeFloat, Finite]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Strict):
    """What is trained on, and how an image becomes the model's input.

    Attributes:
        dataset: `digits`; a name that TFDS knows; or a folder: one that TFDS
            wrote, class folders of images, or TFRecords with `labels.txt`.
        train_split: Split to train on, in TFDS's notation, such as
            `train[:90%]`.
        evaluation_split: Split to evaluate on.
        holdout: Share of every class that becomes `test` where a dataset is
            class folders without splits.
        image_size: Side in pixels of the square images.
        batch_size: Images a step, over all replicas together.
        crop_ratio: Share of the side that evaluation sees. Default: the
            preset's or the variant's own, 1 for other models.
        crop_mode: Of `gcvit_keras.load_image`. Default: the preset's.
        interpolation: Of `gcvit_keras.load_image`. Default: the preset's.
        cache: `memory`, or a folder, to keep the encoded images in.
        shuffle_buffer: Encoded images held to shuffle, where images are
            records in files. Class folders are shuffled whole.
        shard_by: How workers share the data. `examples`: every worker reads
            all records and decodes its own, so that batches are the same
            however many workers there are. `files`: every worker reads files
            of its own.
        service: Address of a `tf.data` service, such as
            `grpc://dispatcher:5050`, that decodes and augments.
        broken_share: Share of images that may be unreadable before a run
            stops.
    """

    dataset: str
    train_split: str = "train"
    evaluation_split: str = "test"
    holdout: Share = 0.1
    image_size: pydantic.PositiveInt
    batch_size: pydantic.PositiveInt
    crop_ratio: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None
    crop_mode: Literal["center", "squash"] | None = None
    interpolation: Literal["bicubic", "bilinear"] | None = None
    cache: str | None = None
    shuffle_buffer: pydantic.PositiveInt = 10_000
    shard_by: Literal["examples", "files"] = "examples"
    service: str | None = None
    broken_share: Share = 0.01

    @property
    def image_reader(self):
        """The `gcvit_keras.ImageReader` of evaluation."""
        from gcvit_keras import ImageReader  # imports Keras

        reader = ImageReader(self.image_size)
        return reader.replace(
            crop_ratio=self.crop_ratio,
            crop_mode=self.crop_mode,
            interpolation=self.interpolation,
        )


class AugmentConfig(_Strict):
    """How training images are varied.

    Attributes:
        crop_scale: Least and largest area of a random crop, as shares of the
            image's (RandomResizedCrop). `None` takes the whole image.
        crop_aspect: Least and largest width over height of that crop.
        flip: Probability of mirroring.
        rotation: Largest random rotation, as a share of a full turn.
        translation: Largest random shift, as a share of the side.
        zoom: Largest random zoom, in or out.
        rand_augment_layers: Operations an image of RandAugment
            (arXiv 1909.13719); 0 for none.
        rand_augment_magnitude: Their strength, in [0, 10].
        rand_augment_std: Standard deviation of the strength.
        erasing: Probability of erasing a box (arXiv 1708.04896).
        mixup: Alpha of mixup (arXiv 1710.09412); 0 for none.
        cutmix: Alpha of CutMix (arXiv 1905.04899); 0 for none. With both,
            every batch is given one of them.
    """

    crop_scale: tuple[Probability, Probability] | None = None
    crop_aspect: tuple[Positive, Positive] = (3 / 4, 4 / 3)
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

    @pydantic.model_validator(mode="after")
    def _ranges_are_in_order(self):
        for field in ("crop_scale", "crop_aspect"):
            low, high = getattr(self, field) or (1, 1)
            if not 0 < low <= high:
                raise ValueError(
                    f"`augment.{field}` must be two positive numbers, the "
                    f"least first. Received: {[low, high]}"
                )
        return self


class OptimizerConfig(_Strict):
    """AdamW and its rate.

    Attributes:
        learning_rate: Highest rate, from which a cosine falls.
        reference_batch_size: Batch that `learning_rate` is meant for; the
            rate is scaled linearly from it to `data.batch_size`. `None`: not
            scaled.
        final_learning_rate: Rate at the cosine's end, scaled as well.
        warmup_epochs: First epochs, over which the rate rises from near 0.
        cooldown_epochs: Last epochs, at the final rate.
        weight_decay: Not on norms, biases, layer scales and position tables.
        gradient_norm: Gradients are clipped to this global norm.
        layer_decay: Factor on the rate from each block to the one before it;
            the head has the full rate.
        freeze_epochs: First epochs, in which only the head is trained.
        accumulate: Parts that a replica's batch is computed in, one after
            the other, before one update: less memory, the same result.
        ema: Decay of the averages of the weights over steps, which are what
            is evaluated and saved; `None` for none.
    """

    learning_rate: Positive
    reference_batch_size: pydantic.PositiveInt | None = None
    final_learning_rate: NonNegative = 0.0
    warmup_epochs: pydantic.NonNegativeInt = 0
    cooldown_epochs: pydantic.NonNegativeInt = 0
    weight_decay: NonNegative = 0.05
    gradient_norm: Positive = 5.0
    layer_decay: Annotated[float, pydantic.Field(gt=0, le=1)] = 1.0
    freeze_epochs: pydantic.NonNegativeInt = 0
    accumulate: pydantic.PositiveInt = 1
    ema: Share | None = None


class ModelConfig(_Strict):
    """The architecture and what it starts from.

    Either `variant`, or `embed_dim`, `depths`, `num_heads` and `mlp_ratio`,
    or `weights` alone, a `.keras` file of a GC ViT.

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
        window_size: Sides of the windows.
        recompute: Whether each block's activations are computed again for
            the gradient, which takes less memory and more time.
        name: Name of the model.
    """

    variant: Literal[tuple(VARIANTS)] | None = None
    weights: str | None = None
    embed_dim: pydantic.PositiveInt | None = None
    depths: FourPositive | None = None
    num_heads: FourPositive | None = None
    mlp_ratio: Positive | None = None
    layer_scale: Positive | None = None
    drop_path_rate: Share | None = None
    window_size: FourPositive | None = None
    recompute: bool = False
    name: str = "gcvit"

    @pydantic.model_validator(mode="after")
    def _is_one_architecture(self):
        sizes = ("embed_dim", "depths", "num_heads", "mlp_ratio")
        given = [name for name in sizes if getattr(self, name) is not None]
        missing = [name for name in sizes if name not in given]
        if self.variant is not None and (given or self.layer_scale):
            raise ValueError(
                "`model.variant` fixes "
                f"{', '.join(given or ['layer_scale'])}: give one or the other"
            )
        if given and missing:
            raise ValueError(f"`model.{missing[0]}` is missing")
        if not given and self.variant is None and not self.is_keras_file:
            raise ValueError(
                "`model` must have `variant`, or "
                f"{', '.join(f'`{s}`' for s in sizes)}, or a .keras file as "
                "`weights`"
            )
        return self

    @property
    def is_keras_file(self):
        """Whether `weights` is a whole model."""
        weights = self.weights or ""
        return weights.endswith(".keras")


class RunConfig(_Strict):
    """One training run.

    Attributes:
        seed: Of initial weights, order, augmentation and drop path.
        deterministic: Whether TensorFlow computes every operation the same
            way each time, which takes longer.
        epochs: Passes over the training split, all phases together.
        label_smoothing: Share of each label given to all classes.
        precision: Keras's dtype policy.
        strategy: Where it computes. `auto`: several machines where
            `TF_CONFIG` names them, else a TPU where there is one, else all
            GPUs, else the CPU.
        jit_compile: Whether XLA compiles the step. `auto`: on GPUs and TPUs.
        checkpoint_minutes: Longest time between checkpoints, which are also
            written after every epoch.
        checkpoint_steps: Steps between checkpoints, instead.
        keep_checkpoints: How many checkpoints stay.
        histograms: Epochs between histograms of the weights for TensorBoard;
            0 for none.
        profile: First and last step that TensorBoard's profiler sees.
        data: What is trained on.
        augment: How training images are varied.
        optimizer: AdamW and its rate.
        model: The architecture.
    """

    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    deterministic: bool = False
    epochs: pydantic.PositiveInt
    label_smoothing: Share = 0.1
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    strategy: Literal[
        "auto", "one_device", "mirrored", "multi_worker", "tpu"
    ] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"
    checkpoint_minutes: Positive = 10.0
    checkpoint_steps: pydantic.PositiveInt | None = None
    keep_checkpoints: pydantic.PositiveInt = 2
    histograms: pydantic.NonNegativeInt = 0
    profile: tuple[pydantic.PositiveInt, pydantic.PositiveInt] | None = None
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    model: ModelConfig

    @pydantic.model_validator(mode="after")
    def _phases_fit_into_the_epochs(self):
        o = self.optimizer
        if o.warmup_epochs + o.cooldown_epochs >= self.epochs:
            raise ValueError(
                "`optimizer.warmup_epochs` and `optimizer.cooldown_epochs` "
                "must together be below `epochs`. Received: "
                f"warmup_epochs={o.warmup_epochs}, "
                f"cooldown_epochs={o.cooldown_epochs}, epochs={self.epochs}"
            )
        if o.freeze_epochs > self.epochs:
            raise ValueError(
                "`optimizer.freeze_epochs` must be at most `epochs`. "
                f"Received: freeze_epochs={o.freeze_epochs}, "
                f"epochs={self.epochs}"
            )
        if o.final_learning_rate > o.learning_rate:
            raise ValueError(
                "`optimizer.final_learning_rate` must be at most "
                "`optimizer.learning_rate`. Received: "
                f"{o.final_learning_rate} and {o.learning_rate}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _batches_can_be_made(self):
        batch = self.data.batch_size
        if batch % self.optimizer.accumulate:
            raise ValueError(
                "`data.batch_size` must be a multiple of "
                "`optimizer.accumulate`. Received: "
                f"batch_size={batch}, accumulate={self.optimizer.accumulate}"
            )
        if (self.augment.mixup or self.augment.cutmix) and batch % 2:
            raise ValueError(
                "`data.batch_size` must be even with `augment.mixup` or "
                f"`augment.cutmix`. Received: batch_size={batch}"
            )
        if self.profile and self.profile[0] > self.profile[1]:
            raise ValueError(
                "`profile` must be the first and the last step. "
                f"Received: {list(self.profile)}"
            )
        return self


def read_config(recipe, overrides: Iterable[str] = ()) -> RunConfig:
    """Reads and validates the configuration of a run.

    Args:
        recipe: Name of a shipped recipe, such as `"digits"`, or path of a
            YAML file of `RunConfig`'s fields.
        overrides: Strings `"section.field=value"`, the value in YAML.

    Returns:
        `RunConfig`, in which the defaults that a preset or a variant sets
        are filled in.

    Raises:
        ValueError: If the file cannot be read, or a field is unknown, missing
            or impossible. The message is one line that names it.
    """
    shipped = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{recipe}.yaml" if recipe in shipped else Path(recipe)
    try:
        fields = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ValueError(
            f"{recipe} is none of the recipes {shipped} and cannot be read as "
            f"a file: {error.strerror}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{recipe} is not YAML: {reason}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{recipe} must be a mapping of fields to values")
    for override in overrides:
        _override(fields, override)
    try:
        return _resolve(RunConfig.model_validate(fields))
    except pydantic.ValidationError as error:
        raise ValueError(f"{recipe}: {_one_line(error)}") from error


def write_config(config, path):
    """Writes a configuration, every field of it, as `read_config` takes it.

    Args:
        config: `RunConfig`.
        path: Path of the YAML file.
    """
    fields = config.model_dump(mode="json")
    text = yaml.safe_dump(fields, sort_keys=False, default_flow_style=None)
    Path(path).write_text(text, encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 2e-3 as a string, of all things."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def _resolve(config):
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


def _override(fields, override):
    name, equals, value = override.partition("=")
    *sections, field = name.strip().split(".")
    try:
        value = yaml.load(value, _Loader)
    except yaml.YAMLError:
        equals = ""
    if not equals or not field:
        raise ValueError(
            "an override must be section.field=value, the value in YAML. "
            f"Received: {override!r}"
        )
    section = functools.reduce(
        lambda inner, key: (
            inner.setdefault(key, {}) if isinstance(inner, dict) else None
        ),
        sections,
        fields,
    )
    if not isinstance(section, dict):
        raise ValueError(f"{name} is not a field: there is nothing inside it")
    section[field] = value


def _one_line(error):
    """The first thing that is wrong, and how many more there are."""
    first, *more = error.errors()
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if place and first["type"] != "value_error":
        message = f"{place}: {message}. Received: {first['input']!r}"
    return message + (f" (and {len(more)} more)" if more else "")
