"""Training with `model.fit` on `tf.data`, on one device or many."""

from gcvit_training.config import RunConfig, read_config, write_config
from gcvit_training.errors import Preempted, TrainingError
from gcvit_training.evaluator import Evaluator
from gcvit_training.fit import train
from gcvit_training.report import write_report
from gcvit_training.tasks import Task

__all__ = [
    "Evaluator",
    "Preempted",
    "RunConfig",
    "Task",
    "TrainingError",
    "read_config",
    "train",
    "write_config",
    "write_report",
]
