"""Errors that stop a run, in words that say what to do."""

import re
import signal

import tensorflow as tf

from gcvit_training.run_folder import BROKEN
from gcvit_training.strategy import is_multi_worker

GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
"""Errors that TensorFlow raises when another worker has died."""
NAMES = re.compile(r"\{\{.*?\}\}|\[Op:.*")
"""TensorFlow's names of operations, in one line with the reason where they are
computed eagerly."""


class TrainingError(ValueError):
    """A run had to stop; its last checkpoint is whole."""


class Preempted(SystemExit):
    """A run was asked to stop, and wrote a checkpoint; exit code 143."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


def plain(error, folder, strategy):
    """Puts TensorFlow's error into one line.

    Args:
        error: A `tf.errors.OpError`.
        folder: The `RunFolder`.
        strategy: The run's `tf.distribute.Strategy`.

    Returns:
        A `TrainingError`.
    """
    message = (error.message or "").strip()
    lines = [NAMES.sub("", line).strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith("[[")]
    first = lines[0] if lines else type(error).__name__
    if is_multi_worker(strategy) and isinstance(error, GONE):
        return TrainingError(
            "another worker is gone; start all of them again with the same "
            f"command to go on from the last checkpoint: {first}"
        )
    if "every example of a batch is unreadable" in message:
        return TrainingError(
            "every example of a replica's batch is unreadable, and none can "
            "stand in for another: remove those in "
            f"{folder.path / BROKEN['train_split']}, or choose a larger "
            "`data.batch_size`"
        )
    # The first line says where in the graph; the last ones what happened.
    last = lines[-1] if lines else ""
    reason = first if last in ("", first) else f"{first} ... {last}"
    return TrainingError(f"TensorFlow stopped: {reason}")


def reason(error):
    """Says why reading a file failed, in a few words.

    Args:
        error: A `tf.errors.OpError`.

    Returns:
        TensorFlow's first line without its names of what failed and without
        the path, at most 80 letters.
    """
    words = NAMES.sub("", error.message.split("\n")[0])
    return words.split("; ")[-1].strip()[:80]
