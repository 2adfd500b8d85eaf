"""A run, from its configuration to a trained model."""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.cpu import fast_on_cpu
from gcvit_training.data import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from gcvit_training.optimizer import adamw
from gcvit_training.run_folder import RunFolder, finite
from gcvit_training.sources import check_split, open_source
from gcvit_training.strategy import choose_strategy, is_chief, is_multi_worker
from gcvit_training.tasks.classification.network import build_network
from gcvit_training.trainer import Trainer

AGREE_EVERY = 10
"""Steps between workers asking each other whether to stop."""
LOOK_EVERY = 50
"""Steps between looks at the list of unreadable images."""
LEAST_LOSS_SCALE = 2.0**-10
"""Below it nothing but infinite gradients has come for many steps."""
WARM_UP = 2
"""Steps that images a second leave out: TensorFlow traces in them."""


class TrainingError(ValueError):
    """A run had to stop; its last checkpoint is whole."""


class Preempted(SystemExit):
    """A run was asked to stop, and wrote a checkpoint; exit code 143."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


def train(
    config,
    out,
    data_dir=None,
    strategy=None,
    callbacks=(),
    verbose=1,
    report=print,
) -> keras.Model:
    """Trains a GC ViT with `model.fit`, or goes on with a run.

    The folder gets `config.yaml`, `metrics.csv` (a line an epoch),
    `checkpoints`, `logs` for TensorBoard, `broken_images.txt` where images
    could not be read, and in the end `model.keras` and `labels.txt`. Called
    again after a crash, it goes on from the last checkpoint, with the very
    batches that were left, and ends as it would have.

    Args:
        config: A `RunConfig`.
        out: Folder of the run: new, empty, or of this very run.
        data_dir: Folder of what TFDS prepares. Default: `data` in `out`.
        strategy: A `tf.distribute.Strategy`. Default: the configuration's.
        callbacks: As of `model.fit`.
        verbose: As of `model.fit`.
        report: Called with a line of text when there is something to say.

    Returns:
        The trained `keras.Model`: images `(batch, size, size, 3)`, pixels in
        [0, 255], to probabilities `(batch, classes)`. With `optimizer.ema`
        its weights are the averages.

    Raises:
        ValueError: If the configuration does not fit the data, the devices
            or the folder.
        TrainingError: If the loss is not a number, too many images cannot be
            read, the disk is full or a worker is gone.
        Preempted: After SIGTERM, when a checkpoint is written.
    """
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = strategy or choose_strategy(config.strategy)
    _check_replicas(config, strategy)
    folder = RunFolder(out, writes=is_chief(strategy))
    with folder.claimed(config):
        source = open_source(
            config.data.dataset,
            data_dir or Path(out) / "data",
            config.data.holdout,
        )
        for field in ("train_split", "evaluation_split"):
            check_split(source, getattr(config.data, field), f"data.{field}")
        images = source.size(config.data.train_split)
        if not steps_per_epoch(source, config):
            raise ValueError(
                f"`data.batch_size` must be at most the {images} training "
                f"images. Received: batch_size={config.data.batch_size}"
            )
        folder.write_config(config)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.precision)
        try:
            run = Run(config, folder, source, strategy, report)
            run.fit(callbacks, verbose)
        except tf.errors.OpError as error:
            raise _plain(error, folder, strategy) from error
        finally:
            keras.config.set_dtype_policy(policy)
        if folder.writes:
            labels = "".join(f"{name}\n" for name in source.names)
            folder.write_text("labels.txt", labels)
            reader = config.data.image_reader
            folder.write_text(reader.FILE, reader.to_json())
            with folder.replacing("model.keras") as beside:
                # Keras wants the suffix, which stays.
                run.network.save(beside)
    return run.network


class Run:
    """What is trained, and how far it has come.

    Args:
        config: A `RunConfig`.
        folder: The `RunFolder`, claimed.
        source: Of the images.
        strategy: A `tf.distribute.Strategy`.
        report: Called with a line of text when there is something to say.

    Attributes:
        network: The GC ViT.
        trainer: The `Trainer` around it.
        step: Steps done.
        rows: Metrics of the epochs done.
    """

    def __init__(self, config, folder, source, strategy, report):
        self.config = config
        self.folder = folder
        self.source = source
        self.strategy = strategy
        self.report = report
        self.steps_per_epoch = steps_per_epoch(source, config)
        self.step = 0
        self.rows = []
        self.pending_metrics = None
        self.broken = str(folder.path.absolute() / "broken_images.txt")
        if not folder.writes:
            self.broken = tempfile.mkstemp(prefix="gcvit-broken-")[1]
        keras.utils.set_random_seed(config.seed)
        last = folder.last() if folder.path.is_dir() else None
        with strategy.scope():
            self.network = build_network(config, len(source.names))
            self.trainer = Trainer(
                self.network,
                config.label_smoothing,
                config.optimizer.accumulate,
                config.optimizer.ema,
                config.seed,
            )
            optimizer = adamw(config, self.steps_per_epoch, self.network)
            if config.precision == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            self.trainer.compile(
                optimizer,
                jit_compile=_jit(config),
                auto_scale_loss=False,
            )
            optimizer.build(self.network.trainable_variables)
        for path in folder.damaged:
            report(f"{path} cannot be read: the one before it is used")
        if last:
            self._restore(*last)

    @property
    def epoch(self):
        """Epochs done."""
        return self.step // self.steps_per_epoch

    def fit(self, callbacks, verbose):
        """Trains what is left."""
        size = self.source.size(self.config.data.evaluation_split)
        validation = self.strategy.distribute_datasets_from_function(
            lambda context: evaluation_batches(
                self.source,
                self.config.data.evaluation_split,
                self.config.data,
                self.config.data.batch_size,
                context,
                self.broken,
            )
        )
        progress = Progress(self)
        try:
            with fast_on_cpu(self.network):
                while self.epoch < self.config.epochs:
                    self._fit_phase(
                        validation, size, progress, callbacks, verbose
                    )
        finally:
            progress.restore_signals()
        if self.config.optimizer.ema is not None:
            self.swap_averages()
        if not self.folder.writes:
            os.unlink(self.broken)

    def _fit_phase(self, validation, size, progress, callbacks, verbose):
        """Trains to the end of a begun epoch, of the frozen ones, or of all."""
        config, step = self.config, self.step
        done = step % self.steps_per_epoch
        frozen = config.optimizer.freeze_epochs
        self.trainer.head_only = self.epoch < frozen
        last = frozen if self.trainer.head_only else config.epochs
        batches = self.strategy.distribute_datasets_from_function(
            lambda context: training_batches(
                self.source, config, step, context, self.broken
            )
        )
        self.trainer.make_train_function(force=True)
        everything = [progress, *callbacks]
        if self.folder.writes:
            everything.append(
                keras.callbacks.TensorBoard(
                    str(self.folder.path / "logs"),
                    histogram_freq=config.histograms,
                    write_graph=False,
                    profile_batch=config.profile or 0,
                )
            )
            everything.append(_Bar(config.epochs))
        self.trainer.fit(
            batches,
            initial_epoch=self.epoch,
            epochs=self.epoch + 1 if done else last,
            steps_per_epoch=self.steps_per_epoch - done,
            validation_data=validation,
            validation_steps=-(-size // config.data.batch_size),
            callbacks=everything,
            shuffle=False,  # the pipeline does
            verbose=verbose if self.folder.writes else 0,
        )

    def swap_averages(self):
        """Exchanges the weights with their averages."""
        averages = self.trainer.averages
        for average, variable in zip(
            averages, self.network.trainable_variables, strict=bool(averages)
        ):
            value = variable.numpy()
            variable.assign(average.numpy())
            average.assign(value)

    def save(self):
        """Writes a checkpoint; every worker has to call it."""
        arrays = {
            name: np.asarray(variable) for name, variable in self._variables()
        }
        if not finite(arrays):
            raise TrainingError(self._not_finite("weights are"))
        facts = {"step": self.step, "rows": self.rows}
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

    def _restore(self, arrays, facts):
        names = [name for name, _ in self._variables()]
        if sorted(names) != sorted(arrays):
            raise ValueError(
                f"the checkpoint in {self.folder.path} is of another version "
                "of this library. Choose another --out"
            )
        for name, variable in self._variables():
            if not name.startswith("metrics/"):
                variable.assign(arrays[name])
        self.pending_metrics = arrays
        self.step, self.rows = facts["step"], facts["rows"]
        epoch, done = divmod(self.step, self.steps_per_epoch)
        if epoch < self.config.epochs:
            self.report(
                f"Going on from step {done} of {self.steps_per_epoch} of "
                f"epoch {epoch + 1}."
            )

    def restore_metrics(self):
        """Gives the metrics of a begun epoch what it had; called once."""
        if self.pending_metrics is not None:
            for name, variable in self._variables():
                if name.startswith("metrics/"):
                    variable.assign(self.pending_metrics[name])
            self.pending_metrics = None

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

    def check_broken(self, everything=False):
        """Stops the run if too many images cannot be read."""
        try:
            names = Path(self.broken).read_text(encoding="utf-8").split("\n")
        except OSError:
            return 0
        names = sorted({name for name in names if name})
        images = self.source.size(self.config.data.train_split)
        if len(names) > self.config.data.broken_share * images:
            raise TrainingError(
                f"{len(names)} images cannot be read, more than "
                f"`data.broken_share` = {self.config.data.broken_share} of "
                f"{images}: {', '.join(names[:3])}, ...; all are in "
                f"{self.broken}"
            )
        return len(names)

    def _not_finite(self, what):
        return (
            f"the {what} not finite after step {self.step}; a lower "
            f"`optimizer.learning_rate` may help. {self._whole()}"
        )

    def _whole(self):
        saved = self.folder.saved() if self.folder.writes else []
        if not saved:
            return "There is no checkpoint yet"
        return f"The last checkpoint, {saved[0]}, is whole"


class Progress(keras.callbacks.Callback):
    """Counts, saves, and stops a run when it has to.

    Args:
        run: The `Run`.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.asked_to_stop = False
        self.saved_at = time.monotonic()
        self.broken = 0
        self.old_handler = None
        if threading.current_thread() is threading.main_thread():
            self.old_handler = signal.signal(signal.SIGTERM, self._ask_to_stop)

    def restore_signals(self):
        """Puts back what handled SIGTERM before."""
        if self.old_handler is not None:
            signal.signal(signal.SIGTERM, self.old_handler)

    def _ask_to_stop(self, *_):
        self.asked_to_stop = True

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self.run.restore_metrics()
        self.counted = 0
        self.images_per_second = None

    def on_train_batch_end(self, batch, logs=None):
        """After every step."""
        run, config = self.run, self.run.config
        run.step += 1
        if not np.isfinite(logs["loss"]):
            raise TrainingError(run._not_finite("loss is"))
        self._check_loss_scale()
        self._time(logs)
        if run.step % LOOK_EVERY == 0:
            run.check_broken()
        if self._stops():
            run.save()
            run.report(
                f"Stopped at step {run.step}, as SIGTERM asked. The same "
                "command goes on from there."
            )
            raise Preempted
        if run.step % run.steps_per_epoch == 0:
            return  # on_epoch_end saves
        steps = config.checkpoint_steps
        if steps is None and is_multi_worker(run.strategy):
            steps = max(1, run.steps_per_epoch // 4)  # clocks differ
        due = time.monotonic() - self.saved_at > 60 * config.checkpoint_minutes
        if run.step % steps == 0 if steps else due:
            run.save()
            self.saved_at = time.monotonic()

    def on_test_begin(self, logs=None):
        """What is evaluated is the averages."""
        self.run.swap_averages()

    def on_test_end(self, logs=None):
        """Back to the weights that are trained."""
        self.run.swap_averages()

    def on_epoch_end(self, epoch, logs=None):
        """Adds a line to the metrics, and saves."""
        run = self.run
        logs["learning_rate"] = float(run.trainer.optimizer.learning_rate)
        if self.images_per_second:
            logs["images_per_second"] = self.images_per_second
        run.rows.append(
            {"epoch": epoch, **{k: float(v) for k, v in logs.items()}}
        )
        broken = run.check_broken()
        if broken > self.broken:
            run.report(
                f"{broken} images cannot be read, and are left out: "
                f"{run.broken}"
            )
            self.broken = broken
        run.save()
        self.saved_at = time.monotonic()
        if run.folder.writes:
            run.folder.write_metrics(run.rows)

    def _time(self, logs):
        now = time.monotonic()
        self.counted += 1
        if self.counted <= WARM_UP:
            self.clock, self.counted_from = now, self.counted
        elif now > self.clock:
            steps = self.counted - self.counted_from
            batch = self.run.config.data.batch_size
            self.images_per_second = steps * batch / (now - self.clock)
            logs["images_per_second"] = self.images_per_second

    def _check_loss_scale(self):
        scale = getattr(self.run.trainer.optimizer, "dynamic_scale", None)
        if scale is not None and float(np.asarray(scale)) < LEAST_LOSS_SCALE:
            raise TrainingError(self.run._not_finite("gradients are"))

    def _stops(self):
        """Whether all workers are to stop, since one was asked to."""
        strategy = self.run.strategy
        if not is_multi_worker(strategy):
            return self.asked_to_stop
        if self.run.step % AGREE_EVERY:
            return False
        asked = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(float(self.asked_to_stop))
        )
        return float(strategy.reduce("SUM", asked, axis=None)) > 0


class _Bar(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with the epochs of all phases.

    Args:
        epochs: Of the run.
    """

    def __init__(self, epochs):
        super().__init__()
        self.all_epochs = epochs

    def set_params(self, params):
        """Takes `fit`'s numbers, but for the epochs."""
        super().set_params({**params, "epochs": self.all_epochs})


def _check_replicas(config, strategy):
    replicas = strategy.num_replicas_in_sync
    batch, parts = config.data.batch_size, config.optimizer.accumulate
    if batch % replicas:
        raise ValueError(
            f"`data.batch_size` must be a multiple of the {replicas} replicas. "
            f"Received: batch_size={batch}"
        )
    if batch // replicas % parts:
        raise ValueError(
            f"`optimizer.accumulate` must divide the {batch // replicas} "
            f"images of a replica. Received: accumulate={parts}"
        )
    mixes = config.augment.mixup or config.augment.cutmix
    if mixes and batch // replicas % 2:
        raise ValueError(
            "`data.batch_size` must give every replica an even number of "
            "images with `augment.mixup` or `augment.cutmix`. Received: "
            f"batch_size={batch} for {replicas} replicas"
        )


def _jit(config):
    if config.jit_compile != "auto":
        return config.jit_compile
    # On a CPU XLA is 2.5 times slower than plain graphs for this model.
    return bool(tf.config.list_physical_devices("GPU"))


def _plain(error, folder, strategy):
    """TensorFlow's error as one line that says what to do."""
    lines = (error.message or "").strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    if is_multi_worker(strategy) and isinstance(error, gone):
        return TrainingError(
            "another worker is gone; start all of them again with the same "
            f"command to go on from the last checkpoint: {reason}"
        )
    if "every image of a batch is unreadable" in error.message:
        return TrainingError(
            "every image of a batch is unreadable: see "
            f"{folder.path / 'broken_images.txt'}"
        )
    return TrainingError(f"TensorFlow stopped: {reason}")
