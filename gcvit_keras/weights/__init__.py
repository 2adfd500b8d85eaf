"""Weights from files: reading, naming and strict porting."""

from gcvit_keras.weights.porting import load_weights

__all__ = ["load_weights"]
