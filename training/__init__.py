"""Training GC ViT with `model.fit` on `tf.data`, on one device or many."""

from training.config import RunConfig, read_config, write_config
from training.evaluate import evaluate
from training.fit import Preempted, TrainingError, train

__all__ = [
    "Preempted",
    "RunConfig",
    "TrainingError",
    "evaluate",
    "read_config",
    "train",
    "write_config",
]
