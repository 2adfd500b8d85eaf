"""Training GC ViT with `model.fit` on TensorFlow Datasets."""

from training.config import RunConfig, read_config, write_config
from training.evaluate import evaluate
from training.fit import train

__all__ = ["RunConfig", "evaluate", "read_config", "train", "write_config"]
