"""Training GC ViT with `model.fit` on `tf.data`, on one device or many."""

from gcvit_training.config import RunConfig, read_config, write_config
from gcvit_training.fit import Preempted, TrainingError, train
from gcvit_training.tasks.classification.evaluator import evaluate

__all__ = [
    "Preempted",
    "RunConfig",
    "TrainingError",
    "evaluate",
    "read_config",
    "train",
    "write_config",
]
