"""A run's state: what is trained, how far it has come, how it goes on."""

import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.data import steps_per_epoch
from gcvit_training.errors import TrainingError
from gcvit_training.optimizer import adamw
from gcvit_training.run_folder import BROKEN, finite, unreadable
from gcvit_training.trainer import Trainer

SHOWN = 5
"""Names of classes that a message lists."""


class Run:
    """A run in this process: its network, its trainer and its progress.

    Args:
        task: The `Task`.
        folder: The `RunFolder`, claimed.
        strategy: A `tf.distribute.Strategy`.
        report: Called with a line of text when there is something to say.

    Attributes:
        network: The network that is trained.
        trainer: The `Trainer` around it.
        step: Steps done.
        rows: Metrics of the epochs done, a dict per epoch.
        stopped: Whether a callback ended the run before its last epoch.
        broken: For each field of `data` that names a split, the path of the
            list of its unreadable examples.

    Raises:
        ValueError: If the data are not those that the run was begun with.
    """

    def __init__(self, task, folder, strategy, report):
        self.task = task
        self.config = config = task.config
        self.folder = folder
        self.strategy = strategy
        self.report = report
        self.steps_per_epoch = steps_per_epoch(task)
        self.step = 0
        self.rows = []
        self.stopped = False
        self.pending_metrics = None
        self.broken = {
            field: str(folder.path.absolute() / name)
            if folder.writes
            else tempfile.mkstemp(prefix="gcvit-broken-")[1]
            for field, name in BROKEN.items()
        }
        keras.utils.set_random_seed(config.seed)
        last = folder.last() if folder.path.is_dir() else None
        for path in folder.damaged:
            use = "the one before it is used" if last else "the run begins anew"
            report(f"{path} cannot be read: {use}")
        if last:
            self._check_data(last[1])
        with strategy.scope():
            self.network = task.network()
            self.trainer = Trainer(self.network, task)
            optimizer = adamw(
                config,
                self.steps_per_epoch,
                self.network,
                task.not_decayed(self.network),
            )
            if config.precision == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            compiles = _compiles(config, strategy)
            several = strategy.num_replicas_in_sync > 1
            self.trainer.compiles_replicas = compiles and several
            self.trainer.compile(
                optimizer,
                jit_compile=compiles and not several,
                steps_per_execution=config.steps_per_execution,
                auto_scale_loss=False,
            )
            optimizer.build(self.network.trainable_variables)
        if last:
            self._restore(*last)

    @property
    def epoch(self):
        """Epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def done(self):
        """True where nothing is left to train."""
        return self.stopped or self.epoch >= self.config.epochs

    def close(self):
        """Removes what only this process needed."""
        if not self.folder.writes:
            for path in self.broken.values():
                os.unlink(path)

    def save(self):
        """Writes a checkpoint; every worker has to call it.

        Raises:
            TrainingError: If weights are no numbers, or the disk is full.
        """
        arrays = {
            name: np.asarray(variable) for name, variable in self._variables()
        }
        if not finite(arrays):
            raise self.not_finite("weights are")
        facts = {
            "step": self.step,
            "rows": self.rows,
            "stopped": self.stopped,
            "epochs": self.config.epochs,
            **self._data_facts(),
        }
        if self.folder.writes:
            try:
                self.folder.save(
                    self.step, arrays, facts, self.config.keep_checkpoints
                )
            except Exception as error:
                full = getattr(error, "strerror", None) or str(error)
                raise TrainingError(
                    f"the checkpoint of step {self.step} cannot be written: "
                    f"{full}. {self._whole()}"
                ) from error

    def restore_metrics(self):
        """Gives the metrics of a begun epoch what it had; called once."""
        if self.pending_metrics is not None:
            for name, variable in self._variables():
                if name.startswith("metrics/"):
                    variable.assign(self.pending_metrics[name])
            self.pending_metrics = None

    def check_broken(self):
        """Counts the unreadable examples.

        Returns:
            Dict of the path of each split's list to their number.

        Raises:
            TrainingError: If there are too many in a split.
        """
        data = self.config.data
        counts = {}
        for field, path in self.broken.items():
            names = unreadable(path)
            size = self.task.source.size(getattr(data, field))
            if len(names) > data.broken_share * size:
                raise TrainingError(
                    f"{len(names)} images cannot be read, more than "
                    f"`data.broken_share` = {data.broken_share} of "
                    f"{size}: {', '.join(names[:3])}, ...; all are in {path}"
                )
            counts[path] = len(names)
        return counts

    def not_finite(self, subject):
        """Makes the error of numbers that are none.

        Args:
            subject: Their name and verb, such as `"loss is"`.

        Returns:
            A `TrainingError`.
        """
        return TrainingError(
            f"the {subject} not finite after step {self.step}; a lower "
            f"`optimizer.learning_rate` may help. {self._whole()}"
        )

    def _data_facts(self):
        """Facts of the data that a run cannot go on without."""
        names = getattr(self.task.source, "names", ())
        return {"names": list(names), "steps_per_epoch": self.steps_per_epoch}

    def _check_data(self, facts):
        """Refuses other data than those of a checkpoint's facts."""
        for fact, now in self._data_facts().items():
            # Checkpoints did not always say.
            before = facts.get(fact, now)
            if before != now:
                raise ValueError(
                    f"the run in {self.folder.path} was begun with other "
                    f"data: {_change(fact, before, now)}. Put the data back "
                    "as they were, or train in another folder"
                )

    def _restore(self, arrays, facts):
        names = [name for name, _ in self._variables()]
        if sorted(names) != sorted(arrays):
            raise ValueError(
                f"the checkpoint in {self.folder.path} is of another version "
                "of this library: train in another folder"
            )
        for name, variable in self._variables():
            if not name.startswith("metrics/"):
                variable.assign(arrays[name])
        self.step, self.rows = facts["step"], facts["rows"]
        # More epochs than it was stopped with are a wish to go on.
        self.stopped = (
            facts["stopped"] and facts["epochs"] == self.config.epochs
        )
        epoch, done = divmod(self.step, self.steps_per_epoch)
        if done:
            # Between two epochs they are those of the one that is over.
            self.pending_metrics = arrays
        if not self.done:
            self.report(
                f"Going on from step {done} of {self.steps_per_epoch} of "
                f"epoch {epoch + 1}."
            )

    def _variables(self):
        """Names and variables of all that a run goes on with."""
        groups = {
            "network": self.network.variables,
            "optimizer": self.trainer.optimizer.variables,
            "averages": self.trainer.averages,
            "metrics": [v for m in self.trainer.metrics for v in m.variables],
        }
        for group, variables in groups.items():
            for i, variable in enumerate(variables):
                yield f"{group}/{i:04d}", variable

    def _whole(self):
        saved = self.folder.saved() if self.folder.writes else []
        if not saved:
            return "There is no checkpoint yet"
        return f"The last checkpoint, {saved[0]}, is whole"


def _change(fact, before, now):
    """Says in a few words how a fact of the data differs."""
    if fact == "steps_per_epoch":
        return f"an epoch has {now} steps, and had {before}"
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    parts = [
        f"{title} {', '.join(map(repr, names[:SHOWN]))}"
        + ", ..." * (len(names) > SHOWN)
        for title, names in (("classes gone:", gone), ("new ones:", new))
        if names
    ]
    return "; ".join(parts) or "the classes are in another order"


def _compiles(config, strategy):
    """Says whether XLA compiles the step; on several replicas only when asked.

    On a CPU it is 2.5 times slower than plain graphs for this model, and on
    a TPU everything is compiled anyway.
    """
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return False
    if config.jit_compile != "auto":
        return config.jit_compile
    one = strategy.num_replicas_in_sync == 1
    return one and bool(tf.config.list_physical_devices("GPU"))
