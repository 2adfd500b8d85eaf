"""Weights from files: reading, naming and strict porting."""

from gcvit_keras.weights.porting import describe_checkpoint, load_weights

__all__ = ["describe_checkpoint", "load_weights"]
