"""What a training run is made of, as validated data from YAML."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pydantic
import yaml

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that are shipped."""

FourPositive = tuple[
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
    pydantic.PositiveInt,
]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Strict):
    """What is trained on.

    Attributes:
        dataset: Name of a dataset that TFDS or this package knows.
        train_split: Split to train on, in TFDS's notation.
        evaluation_split: Split to evaluate on.
        image_size: Side in pixels of the square images.
        batch_size: Images a step, over all replicas together.
    """

    dataset: str
    train_split: str = "train"
    evaluation_split: str = "test"
    image_size: pydantic.PositiveInt
    batch_size: pydantic.PositiveInt


class AugmentConfig(_Strict):
    """How training images are varied.

    Attributes:
        rotation: Largest random rotation, as a share of a full turn.
        translation: Largest random shift, as a share of the side.
        zoom: Largest random zoom, in or out.
    """

    rotation: Share = 0.0
    translation: Share = 0.0
    zoom: Share = 0.0


class OptimizerConfig(_Strict):
    """AdamW and its rate.

    Attributes:
        learning_rate: Highest rate, from which a cosine falls to 0.
        warmup_epochs: First epochs, over which the rate rises from near 0.
        weight_decay: Not on norms, biases, layer scales and position tables.
        gradient_norm: Gradients are clipped to this global norm.
    """

    learning_rate: pydantic.PositiveFloat
    warmup_epochs: pydantic.NonNegativeInt = 0
    weight_decay: pydantic.NonNegativeFloat = 0.05
    gradient_norm: pydantic.PositiveFloat = 5.0


class ModelConfig(_Strict):
    """Arguments of `gcvit_keras.GCViT`; see there."""

    embed_dim: pydantic.PositiveInt
    depths: FourPositive
    num_heads: FourPositive
    mlp_ratio: pydantic.PositiveFloat
    layer_scale: pydantic.PositiveFloat | None = None
    drop_path_rate: Share = 0.0
    window_size: FourPositive | None = None
    name: str = "gcvit"


class RunConfig(_Strict):
    """One training run.

    Attributes:
        seed: Of initial weights, order, augmentation and drop path.
        epochs: Passes over the training split.
        label_smoothing: Share of each label given to all classes.
        data: What is trained on.
        augment: How training images are varied.
        optimizer: AdamW and its rate.
        model: The architecture.
    """

    seed: pydantic.NonNegativeInt = 0
    epochs: pydantic.PositiveInt
    label_smoothing: Share = 0.1
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    model: ModelConfig

    @pydantic.model_validator(mode="after")
    def _warms_up_before_the_end(self):
        if self.optimizer.warmup_epochs >= self.epochs:
            raise ValueError(
                "`optimizer.warmup_epochs` must be below `epochs`. Received: "
                f"warmup_epochs={self.optimizer.warmup_epochs}, "
                f"epochs={self.epochs}"
            )
        return self


def read_config(recipe, overrides: Iterable[str] = ()) -> RunConfig:
    """Reads and validates the configuration of a run.

    Args:
        recipe: Name of a shipped recipe, such as `"digits"`, or path of a
            YAML file of `RunConfig`'s fields.
        overrides: Strings `"section.field=value"`, the value in YAML.

    Returns:
        `RunConfig`.

    Raises:
        ValueError: If the file cannot be read, or a field is unknown, missing
            or impossible. The message is one line that names it.
    """
    shipped = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{recipe}.yaml" if recipe in shipped else Path(recipe)
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
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
        return RunConfig.model_validate(fields)
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


def _override(fields, override):
    name, equals, value = override.partition("=")
    *sections, field = name.strip().split(".")
    try:
        value = yaml.safe_load(value)
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
    if place:
        message = f"{place}: {message}. Received: {first['input']!r}"
    return message + (f" (and {len(more)} more)" if more else "")
