"""Settings of a run: what every task has, as validated data from YAML."""

import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml
from pydantic_core import PydanticCustomError

TASK_FOLDERS = Path(__file__).parent / "tasks"
"""Folder of the tasks, each with its recipes."""
Finite = pydantic.Field(allow_inf_nan=False)
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]
Probability = Annotated[float, pydantic.Field(ge=0, le=1)]
PositiveShare = Annotated[float, pydantic.Field(gt=0, le=1)]
Positive = Annotated[pydantic.PositiveFloat, Finite]
NonNegative = Annotated[pydantic.NonNegativeFloat, Finite]
FourPositive = tuple[(pydantic.PositiveInt,) * 4]


def _in_order(numbers):
    least, largest = numbers
    if least > largest:
        raise PydanticCustomError(
            "in_order", "must be two numbers, the least first"
        )
    return numbers


IN_ORDER = pydantic.AfterValidator(_in_order)
"""Of two numbers: refuses them unless the least is the first."""


class Strict(pydantic.BaseModel):
    """Settings without unknown fields, that do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """The examples, and the order in which they come.

    Attributes:
        dataset: Name or folder of a dataset, of those that the task knows.
        train_split: Split to train on.
        evaluation_split: Split to evaluate on.
        batch_size: Examples per step, over all replicas together.
        cache: `memory`, or a folder, in which the content of files is kept.
        shuffle_buffer: Examples held to shuffle, where they are records in
            files or in a cache folder. Files of their own, and a cache in
            memory, are shuffled whole.
        shard_by: How workers share the data. `examples`: every worker reads
            all records and decodes its own, so that batches are the same
            however many workers there are. `files`: every worker reads files
            of its own.
        service: Address of a `tf.data` service, such as
            `grpc://dispatcher:5050`, that decodes and augments.
        broken_share: Share of examples that may be unreadable before a run
            stops.
    """

    dataset: str
    train_split: str = "train"
    evaluation_split: str = "test"
    batch_size: pydantic.PositiveInt
    cache: str | None = None
    shuffle_buffer: pydantic.PositiveInt = 10_000
    shard_by: Literal["examples", "files"] = "examples"
    service: str | None = None
    broken_share: Share = 0.01

    @property
    def splits(self):
        """Names of the splits that a run reads, each once."""
        return list(dict.fromkeys((self.train_split, self.evaluation_split)))


class OptimizerConfig(Strict):
    """AdamW and its rate.

    Attributes:
        learning_rate: Highest rate, from which the schedule falls.
        reference_batch_size: Batch that `learning_rate` is meant for; the
            rate is scaled linearly from it to `data.batch_size`. `None`: not
            scaled.
        schedule: How the rate falls: along a `cosine`, as a power of what is
            left (`poly`), or at some epochs only (`steps`).
        final_learning_rate: Rate at the end of a cosine or a power, scaled as
            well.
        poly_power: Power of `poly`.
        decay_epochs: Epochs after which `steps` multiplies the rate.
        decay_factor: Factor that `schedule: steps` multiplies the rate by at
            each of `decay_epochs`, in (0, 1].
        warmup_epochs: First epochs, over which the rate rises from near 0;
            again after `freeze_epochs`, if there are any.
        warmup_steps: The same in steps, in place of `warmup_epochs`.
        warmup_factor: Share of the rate that the rise begins with.
        cooldown_epochs: Last epochs, at the final rate.
        beta_1: Decay of Adam's mean of the gradients.
        beta_2: Decay of Adam's mean of their squares.
        epsilon: Added to Adam's divisor, as PyTorch does.
        weight_decay: Decay of the weights but for norms, biases, layer scales
            and position tables.
        gradient_norm: Gradients are clipped to this global norm; `None` for
            none.
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
    schedule: Literal["cosine", "poly", "steps"] = "cosine"
    final_learning_rate: NonNegative = 0.0
    poly_power: Positive = 1.0
    decay_epochs: tuple[pydantic.PositiveInt, ...] = ()
    decay_factor: PositiveShare = 0.1
    warmup_epochs: pydantic.NonNegativeInt = 0
    warmup_steps: pydantic.NonNegativeInt | None = None
    warmup_factor: PositiveShare = 1e-3
    cooldown_epochs: pydantic.NonNegativeInt = 0
    beta_1: Share = 0.9
    beta_2: Share = 0.999
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.05
    gradient_norm: Positive | None = 5.0
    layer_decay: PositiveShare = 1.0
    freeze_epochs: pydantic.NonNegativeInt = 0
    accumulate: pydantic.PositiveInt = 1
    ema: Share | None = None


class RunConfig(Strict):
    """One training run, of any task; every task adds its own fields.

    Attributes:
        task: Name of the task, of `gcvit_training.tasks.TASKS`.
        seed: Seed of initial weights, order, augmentation and drop path.
        deterministic: Whether TensorFlow computes every operation the same
            way each time, which takes longer.
        epochs: Passes over the training split, all phases together.
        precision: Keras's dtype policy.
        strategy: Where it computes. `auto`: several machines where
            `TF_CONFIG` names them, else a TPU where there is one, else all
            GPUs, else the CPU.
        jit_compile: Whether XLA compiles the step, with several replicas the
            part of each. `auto`: on one GPU only.
        checkpoint_minutes: Longest time between checkpoints, which are also
            written after every epoch.
        checkpoint_steps: Steps between checkpoints, instead.
        keep_checkpoints: How many checkpoints stay.
        best_metric: Column of `metrics.csv`, such as `val_accuracy`, whose
            best epoch's model is kept as `best.keras`; `None` for none.
        best_mode: Whether the `min` or the `max` of it is best.
        patience: Epochs without a better `best_metric` that end the run;
            `None` to train all.
        steps_per_execution: Steps that one call of TensorFlow does, which
            saves time where steps are short. It must divide an epoch's steps.
        histograms: Epochs between histograms of the weights for TensorBoard;
            0 for none.
        profile: First and last step that TensorBoard's profiler sees.
        data: The examples, and their order.
        optimizer: AdamW and its rate.

    Examples:
    >>> from gcvit_training import read_config
    >>> config = read_config("digits")
    >>> print(config.precision, config.strategy, config.optimizer.ema)
    float32 auto None
    """

    task: str
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    deterministic: bool = False
    epochs: pydantic.PositiveInt
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    strategy: Literal[
        "auto", "one_device", "mirrored", "multi_worker", "tpu"
    ] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"
    checkpoint_minutes: Positive = 10.0
    checkpoint_steps: pydantic.PositiveInt | None = None
    keep_checkpoints: pydantic.PositiveInt = 2
    best_metric: str | None = None
    best_mode: Literal["min", "max"] = "max"
    patience: pydantic.PositiveInt | None = None
    steps_per_execution: pydantic.PositiveInt = 1
    histograms: pydantic.NonNegativeInt = 0
    profile: tuple[pydantic.PositiveInt, pydantic.PositiveInt] | None = None
    data: DataConfig
    optimizer: OptimizerConfig

    @pydantic.model_validator(mode="after")
    def _phases_fit_into_the_epochs(self):
        o = self.optimizer
        frozen = o.freeze_epochs if o.freeze_epochs < self.epochs else 0
        if frozen + o.warmup_epochs + o.cooldown_epochs >= self.epochs:
            raise ValueError(
                "`optimizer.warmup_epochs`, `optimizer.cooldown_epochs` and "
                "`optimizer.freeze_epochs` must together be below `epochs`. "
                f"Received: warmup_epochs={o.warmup_epochs}, "
                f"cooldown_epochs={o.cooldown_epochs}, "
                f"freeze_epochs={o.freeze_epochs}, epochs={self.epochs}"
            )
        if o.freeze_epochs > self.epochs:
            raise ValueError(
                "`optimizer.freeze_epochs` must be at most `epochs`. "
                f"Received: freeze_epochs={o.freeze_epochs}, "
                f"epochs={self.epochs}"
            )
        if o.warmup_steps is not None and o.warmup_epochs:
            raise ValueError(
                "`optimizer.warmup_steps` must be null with "
                "`optimizer.warmup_epochs`. Received: "
                f"warmup_steps={o.warmup_steps}, "
                f"warmup_epochs={o.warmup_epochs}"
            )
        if bool(o.decay_epochs) != (o.schedule == "steps"):
            raise ValueError(
                "`optimizer.decay_epochs` must be given for `optimizer."
                f"schedule: steps`, and only then. Received: "
                f"schedule={o.schedule}, decay_epochs={list(o.decay_epochs)}"
            )
        if max(o.decay_epochs, default=0) >= self.epochs:
            raise ValueError(
                "`optimizer.decay_epochs` must be below `epochs`. Received: "
                f"decay_epochs={list(o.decay_epochs)}, epochs={self.epochs}"
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
        if self.patience and not self.best_metric:
            raise ValueError("`patience` needs `best_metric`")
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

    Examples:
    >>> from gcvit_training import read_config
    >>> config = read_config("digits", ["epochs=9", "data.batch_size=32"])
    >>> print(config.epochs, config.data.batch_size)
    9 32
    >>> read_config("digits", ["epochs=0"])
    Traceback (most recent call last):
        ...
    ValueError: ...
    """
    shipped = {
        path.stem: path for path in TASK_FOLDERS.glob("*/recipes/*.yaml")
    }
    path = shipped.get(str(recipe), Path(recipe))
    try:
        fields = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ValueError(
            f"{recipe} is none of the recipes {sorted(shipped)} and cannot be "
            f"read as a file: {error.strerror}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{recipe} is not YAML: {reason}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{recipe} must be a mapping of fields to values")
    for override in overrides:
        _override(fields, override)
    # The table of tasks imports this module.
    from gcvit_training.tasks import DEFAULT, find_task

    task = find_task(fields.setdefault("task", DEFAULT))
    try:
        return task.resolve(task.Config.model_validate(fields))
    except pydantic.ValidationError as error:
        raise ValueError(
            f"{recipe}: {_one_line(error, task.Config)}"
        ) from error


def write_config(config, path):
    """Writes a configuration, every field of it, as `read_config` takes it.

    Args:
        config: `RunConfig`.
        path: Path of the YAML file.

    Examples:
    >>> from gcvit_training import read_config, write_config
    >>> config = read_config("digits", ["epochs=9"])
    >>> write_config(config, "mine.yaml")
    >>> read_config("mine.yaml") == config
    True
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


def _one_line(error, config):
    """The first thing that is wrong, and how many more there are."""
    first, *more = error.errors()
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        names = list(_names(config))
        message = f"{place} is not a field"
        near = difflib.get_close_matches(place, names, 1)
        if near:
            message += f"; did you mean {near[0]}?"
    elif place and first["type"] != "value_error":
        message = f"{place}: {message}. Received: {first['input']!r}"
    return message + (f" (and {len(more)} more)" if more else "")


def _names(config: Any, prefix=""):
    """Names of all fields, with their sections."""
    for name, field in config.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(
            field.annotation, Strict
        ):
            yield from _names(field.annotation, f"{prefix}{name}.")
