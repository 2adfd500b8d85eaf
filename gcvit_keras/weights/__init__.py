"""Weights from files: reading, naming and strict porting."""

from gcvit_keras.weights.porting import (
    check_source,
    describe_checkpoint,
    load_weights,
)

__all__ = ["check_source", "describe_checkpoint", "load_weights"]
