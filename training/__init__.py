"""Training GC ViT with `model.fit` on TensorFlow Datasets."""

from training.config import DIGITS, ModelConfig, RunConfig
from training.evaluate import evaluate
from training.fit import train

__all__ = ["DIGITS", "ModelConfig", "RunConfig", "evaluate", "train"]
