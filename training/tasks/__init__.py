"""The tasks that can be trained, and what the engine asks of each.

The engine (`gcvit_training`) orders examples, computes steps, keeps
checkpoints and writes reports. It never asks which task it trains: a folder
here, with one `Task` and an entry in `TASKS`, is all that a task takes.
"""

import abc
import importlib
import json

from gcvit_training.config import RunConfig, read_config

__all__ = ["TASKS", "Task", "find_task", "open_task"]

TASKS = {
    "classification": "gcvit_training.tasks.classification",
    "detection": "gcvit_training.tasks.detection",
    "segmentation": "gcvit_training.tasks.segmentation",
    "tabular": "gcvit_training.tasks.tabular",
}
"""Module of each task, which has the `Task` as its attribute `TASK`, and its
recipes in the folder `recipes`."""
DEFAULT = "classification"
"""Task of recipes that name none."""


def find_task(name):
    """Finds a task by the name that a recipe gives it.

    Args:
        name: A key of `TASKS`, such as `"classification"`.

    Returns:
        The subclass of `Task`.

    Raises:
        ValueError: If there is no such task.

    Examples:
    >>> from gcvit_training.tasks import find_task
    >>> find_task("classification").loss_names
    ('loss',)
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(
            f"`task` must be one of {sorted(TASKS)}. Received: task={name!r}"
        )
    return importlib.import_module(TASKS[name]).TASK


def open_task(config, data_dir=None):
    """Opens the dataset of a run and makes the run's task.

    Args:
        config: A `RunConfig`.
        data_dir: Folder of datasets that have to be prepared, or `None`.

    Returns:
        A `Task`.

    Raises:
        ValueError: If the dataset cannot be used.
    """
    task = find_task(config.task)
    return task(config, task.open_source(config, data_dir))


class Task(abc.ABC):
    """A kind of training: its data, its network, its losses, its measures.

    Inputs and targets may be any structure of tensors (tensors, dicts,
    tuples). All examples of a batch have one static shape.

    Args:
        config: The run's configuration, a `Config`.
        source: As `open_source` returns.

    Attributes:
        Config: Subclass of `RunConfig` with the settings of this task.
        loss_names: Names in what `losses` returns that are added up.
        metric_names: Further names in it, which are only watched.
        reads_one_size: Whether images become inputs of one size by a
            `gcvit_keras.ImageReader`, which `to_evaluate` then gets.
        Reader: Class of the settings by which images keep their ratio:
            `short_side` and `long_side`, fields of `data`, too; or `None`.
        names: Names of the model's classes or other outputs, if any.
        recipe: Name of the recipe by whose settings models without a run are
            measured, or `None` if they cannot be.

    A task of images and classes is an `images.ImageTask`.

    Examples:
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from gcvit_training import read_config
    >>> from gcvit_training.tasks import Task, open_task
    >>> for i, color in enumerate(10 * ["red", "blue"]):
    ...     folder = Path("photos", color)
    ...     folder.mkdir(parents=True, exist_ok=True)
    ...     Image.new("RGB", (40, 30), color).save(folder / f"{i}.png")
    >>> settings = ["data.dataset=photos", "data.batch_size=4"]
    >>> task = open_task(read_config("finetune", settings))
    >>> print(isinstance(task, Task), task.loss_names)
    True ('loss',)
    """

    Config = RunConfig
    loss_names = ("loss",)
    metric_names = ()
    reads_one_size = False
    Reader = None
    names = ()
    recipe = None

    def __init__(self, config, source):
        self.config = config
        self.source = source

    @classmethod
    def resolve(cls, config):
        """Fills in settings that follow from others.

        Args:
            config: A `Config` as it was written.

        Returns:
            A `Config`.
        """
        return config

    @classmethod
    @abc.abstractmethod
    def open_source(cls, config, data_dir=None):
        """Opens the dataset, and checks that it has both splits.

        Args:
            config: A `Config`.
            data_dir: As of `open_task`.

        Returns:
            A source: `size(split)`, the number of examples;
            `examples(split, seed=None, buffer=1, shard=(1, 0))`, a
            `tf.data.Dataset` of dicts with a string `name`, shuffled by
            `seed` if there is one; `load(example)`, in a graph, an example's
            content, such as a file's bytes and a label. It may have `names`
            of classes, with which alone a run goes on, and `listing(split)`:
            the list of the files that `shard` divides, with all that examples
            follow from but their content; a cache folder is of one such list.
        """

    def check(self):
        """Refuses data that a run should not be trained on.

        Raises:
            ValueError: If too much of them cannot be used.
        """
        return

    def check_replicas(self, batch_size):
        """Refuses batches that one replica cannot compute.

        Args:
            batch_size: Examples per step and replica.

        Raises:
            ValueError: If these are too few, or too many.
        """
        return

    @abc.abstractmethod
    def example(self, content, seed=None):
        """Makes one example, in a graph; a failing operation leaves it out.

        Args:
            content: As `source.load` returns.
            seed: Integer tensor `(2,)` for random augmentation; `None` for
                evaluation.

        Returns:
            Inputs and targets, of static shapes.
        """

    def batch(self, inputs, targets, seed=None):
        """Changes a whole batch, in a graph.

        Args:
            inputs: Inputs of the examples, `(batch, ...)`.
            targets: Their targets, `(batch, ...)`.
            seed: Integer tensor `(2,)`, the same on every replica; `None`
                for evaluation.

        Returns:
            Inputs and targets.
        """
        return inputs, targets

    @abc.abstractmethod
    def network(self):
        """Builds the `keras.Model` that is trained and saved."""

    def frozen(self, network):
        """Returns the variables of `network()` that learn in frozen epochs."""
        raise ValueError(
            "`optimizer.freeze_epochs` must be 0 for this task. Received: "
            f"freeze_epochs={self.config.optimizer.freeze_epochs}"
        )

    def not_decayed(self, network):
        """Returns the variables of `network()` without weight decay.

        For an empty list they are norms, biases, layer scales and position
        tables, by their names.
        """
        return []

    @abc.abstractmethod
    def losses(self, network, inputs, targets, training):
        """Computes the losses of a batch.

        Args:
            network: As `network()` returns.
            inputs: As `batch` returns.
            targets: As `batch` returns.
            training: Boolean.

        Returns:
            Dict of `loss_names` and `metric_names` to float32 tensors
            `(batch,)`. Their means count.
        """

    def predict(self, network, inputs):
        """Computes what the evaluator is given, in a graph.

        Args:
            network: As `network()` returns.
            inputs: As `batch` returns.

        Returns:
            A structure of tensors `(batch, ...)`.
        """
        return network(inputs, training=False)

    def check_data(self, report=print):
        """Reads every example of both splits once, as a run reads it.

        Args:
            report: Called with a line of text now and then.

        Returns:
            Dict of split to what it holds, a dict that JSON can hold.

        Raises:
            ValueError: If the task has no such check.
        """
        raise ValueError(f"`check_data` is not for the task {self.config.task}")

    def check_page(self, found):
        """Shows what `check_data` found.

        Args:
            found: As `check_data` returns.

        Returns:
            List of lines in Markdown.
        """
        return [f"- {split}: {facts}" for split, facts in found.items()]

    def check_found(self, found):
        """Refuses data of which a run leaves out what `check_data` found.

        Args:
            found: As `check_data` returns.

        Raises:
            ValueError: If there is any; the message counts it.
        """
        self.check()

    def preview(self, count=32):
        """Makes the first training examples as a run sees them.

        Args:
            count: Examples, at most.

        Returns:
            Pictures, a list of arrays `(height, width, 3)` with pixels in [0,
            255], and a title for each.

        Raises:
            ValueError: If the task has nothing to show.
        """
        raise ValueError(f"`preview` is not for the task {self.config.task}")

    @classmethod
    def to_evaluate(cls, config, path, reader, overrides=(), **data):
        """Makes the configuration under which any model is measured.

        Args:
            config: Configuration of the model's run, or `None`.
            path: Path of the model, beside which may be how it reads images.
            reader: The model's `ImageReader`; see `reads_one_size`.
            overrides: Strings `"data.field=value"`, which `config` has.
            **data: Fields of `data` that are set: `dataset`,
                `evaluation_split`, `train_split` and `batch_size`.

        Returns:
            What the task's constructor and `open_source` take as `config`.

        Raises:
            ValueError: If a model without a run cannot be measured, or
                overrides would have no effect.
        """
        asked = {o.partition("=")[0] for o in overrides}
        decided = sorted(asked & {f"data.{name}" for name in data})
        if decided:
            raise ValueError(f"`overrides` cannot set what is fixed: {decided}")
        if config is None and cls.recipe is None:
            raise ValueError(
                "a model of this task is measured as its run's folder only"
            )
        # As the model does, whatever its run said.
        sides = cls.Reader and cls.Reader.of(path)
        if config is None:
            sides = sides or (cls.Reader and cls.Reader())
            fields = [f"data.{k}={json.dumps(v)}" for k, v in data.items()]
            config = read_config(cls.recipe, [*fields, *overrides])
        for side in ("short_side", "long_side") if sides else ():
            if f"data.{side}" not in asked:
                data[side] = getattr(sides, side)
        data = config.data.model_copy(update=data)
        return config.model_copy(update={"data": data})

    def use_classes(self, names, model):
        """Measures a model with classes of its own, matched by name.

        Args:
            names: Names of the model's classes, or `None` where it has none:
                then they are those of the data, in their order.
            model: Path of the model or of its labels, for messages.

        Returns:
            List of lines to tell the user.

        Raises:
            ValueError: If the model does not know a class of the data.
        """
        return []

    @abc.abstractmethod
    def evaluator(self):
        """Makes a new `Evaluator`: of validation and of the report alike."""

    def numbers(self, result):
        """Chooses the measures that are shown after every epoch.

        Args:
            result: As the evaluator's `result` returns.

        Returns:
            Dict of name to number. In `metrics.csv` and TensorBoard the names
            begin with `val_`. Default: all floats of the result.
        """
        return {k: v for k, v in result.items() if isinstance(v, float)}

    def headline(self, result):
        """Says a result in one sentence."""
        return ", ".join(
            f"{k} {v:.4g}" for k, v in self.numbers(result).items()
        )

    def notes(self):
        """Returns lines that a run begins with, such as of ignored files."""
        return []

    def write(self, folder):
        """Writes what the model's users need beside it.

        Args:
            folder: The `RunFolder`.
        """
        return

    def facts(self):
        """Says what the data are, in a line for the report."""
        data = self.config.data
        return f"{self.source.size(data.train_split)} examples"

    def page(self, result, folder=None):
        """Makes the report's part about a result.

        Args:
            result: As the evaluator's `result` returns.
            folder: The `RunFolder`, for pictures; `None` for none.

        Returns:
            List of lines in Markdown.
        """
        rows = self.numbers(result).items()
        return ["| | |", "|---|---|", *(f"| {k} | {v:.4f} |" for k, v in rows)]
