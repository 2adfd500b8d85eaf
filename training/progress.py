"""The work beside the steps: counting, saving, stopping."""

import shutil
import signal
import threading
import time

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.errors import Preempted, TrainingError
from gcvit_training.strategy import is_multi_worker

AGREE_EVERY = 10
"""Steps between workers asking each other whether to stop."""
LOOK_EVERY = 50
"""Steps between looks at the list of unreadable examples."""
LEAST_LOSS_SCALE = 2.0**-10
"""Below it nothing but infinite gradients has come for many steps."""
BAR_WIDTH = 42
"""Columns of the bar itself and of the time, without the steps."""
WARM_UP = 2
"""Steps that images per second leave out: TensorFlow traces in them."""


class Progress(keras.callbacks.Callback):
    """Counts, saves, unfreezes, and stops a run when it has to.

    Args:
        run: The `Run`.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.asked_to_stop = False
        self.saved_at = time.monotonic()
        self.broken = {}
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
        """Starts the clock; trains everything after the frozen epochs."""
        trainer = self.run.trainer
        frozen = epoch < self.run.config.optimizer.freeze_epochs
        if frozen != trainer.head_only:
            trainer.head_only = frozen
            trainer.make_train_function(force=True)
        self.run.restore_metrics()
        self.counted = 0
        self.counted_from = None
        self.images_per_second = None

    def on_train_batch_end(self, batch, logs=None):
        """Counts a step, and looks whether the run can go on."""
        run, config = self.run, self.run.config
        run.step += config.steps_per_execution
        self.counted += config.steps_per_execution
        if self.counted < WARM_UP * config.steps_per_execution:
            run.trainer.read_next()  # the clock starts then
        if run.trainer.fresh:
            self._check_numbers(logs)
            self._time()
        if self.images_per_second:
            logs["images_per_second"] = self.images_per_second
        if self._passed(LOOK_EVERY):
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
        if self._passed(steps) if steps else due:
            run.save()
            self.saved_at = time.monotonic()

    def on_test_begin(self, logs=None):
        """Evaluates the averages."""
        # The epoch's metrics were read: all its steps are done.
        self._time()
        self._check_numbers(self.model.get_metrics_result())
        self.model.swap_averages()

    def on_test_end(self, logs=None):
        """Goes back to the weights that are trained."""
        self.model.swap_averages()

    def on_epoch_end(self, epoch, logs=None):
        """Adds a line to the metrics, and saves."""
        run = self.run
        logs["learning_rate"] = float(run.trainer.optimizer.learning_rate)
        if self.images_per_second:
            logs["images_per_second"] = self.images_per_second
        # A callback may have stopped the epoch before, in the middle.
        run.rows = [row for row in run.rows if row["epoch"] < epoch]
        run.rows.append(
            {"epoch": epoch, **{k: float(v) for k, v in logs.items()}}
        )
        for path, count in run.check_broken().items():
            if count > self.broken.get(path, 0):
                run.report(
                    f"{count} images cannot be read, and are left out: {path}"
                )
                self.broken[path] = count
        if run.config.best_metric:
            self._keep_best()
        run.save()
        self.saved_at = time.monotonic()
        if run.folder.writes:
            run.folder.write_metrics(run.rows)

    def _keep_best(self):
        """Saves the best epoch's model; stops when none is better for long."""
        run, config = self.run, self.run.config
        name = config.best_metric
        if name not in run.rows[-1]:
            raise TrainingError(
                f"`best_metric` must be one of {sorted(run.rows[-1])}. "
                f"Received: best_metric={name!r}"
            )
        sign = 1 if config.best_mode == "min" else -1
        values = [sign * row[name] for row in run.rows]
        best = int(np.argmin(values))
        if best == len(values) - 1 and run.folder.writes:
            run.trainer.swap_averages()
            with run.folder.replacing("best.keras") as beside:
                run.network.save(beside)
            run.trainer.swap_averages()
        if config.patience and len(values) - 1 - best >= config.patience:
            self.model.stop_training = True
            run.report(
                f"Stopped: {name} was best in epoch {best + 1}, and "
                f"`patience` is {config.patience}."
            )

    def _passed(self, every):
        """Tells whether the last call passed a multiple of `every` steps."""
        step, steps = self.run.step, self.run.config.steps_per_execution
        return step // every > (step - steps) // every

    def _time(self):
        if self.counted < WARM_UP:
            return
        now = time.monotonic()
        if self.counted_from is None:
            self.clock, self.counted_from = now, self.counted
        elif self.counted > self.counted_from and now > self.clock:
            steps = self.counted - self.counted_from
            batch = self.run.config.data.batch_size
            self.images_per_second = steps * batch / (now - self.clock)

    def _check_numbers(self, logs):
        if not np.isfinite(logs["loss"]):
            raise self.run.not_finite("loss is")
        scale = getattr(self.run.trainer.optimizer, "dynamic_scale", None)
        if scale is not None and float(np.asarray(scale)) < LEAST_LOSS_SCALE:
            raise self.run.not_finite("gradients are")

    def _stops(self):
        """Tells whether all workers are to stop, since one was asked to."""
        strategy = self.run.strategy
        if not is_multi_worker(strategy):
            return self.asked_to_stop
        if not self._passed(AGREE_EVERY):
            return False
        asked = strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(float(self.asked_to_stop))
        )
        return float(strategy.reduce("SUM", asked, axis=None)) > 0


class Bar(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, with the epochs of all calls of `fit`.

    While an epoch runs the bar shows the measures that fit into the terminal's
    width: a longer line wraps, and is written anew below itself every time.

    Args:
        epochs: Of the run.
    """

    def __init__(self, epochs):
        super().__init__()
        self.all_epochs = epochs

    def set_params(self, params):
        """Takes `fit`'s numbers, but for the epochs."""
        super().set_params({**params, "epochs": self.all_epochs})

    def _update_progbar(self, batch, logs=None):
        room = shutil.get_terminal_size().columns - BAR_WIDTH
        room -= 2 * len(str(self.target))
        fitting = {}
        for name, value in sorted(
            (logs or {}).items(), key=lambda item: item[0] != "loss"
        ):
            shown = f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"
            room -= len(f" - {name}: {shown}")
            if room >= 0:
                fitting[name] = value
        super()._update_progbar(batch, fitting)
