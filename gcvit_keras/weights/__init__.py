"""Weights from files and from the network: reading, naming, strict porting."""

from gcvit_keras.weights.checkpoint import open_checkpoint
from gcvit_keras.weights.download import DownloadError, download_weights
from gcvit_keras.weights.loading import (
    describe_checkpoint,
    load_weights,
    prepare,
)
from gcvit_keras.weights.porting import assign_tensors
from gcvit_keras.weights.presets import PRESETS, Preset, find_preset

__all__ = [
    "PRESETS",
    "DownloadError",
    "Preset",
    "assign_tensors",
    "describe_checkpoint",
    "download_weights",
    "find_preset",
    "load_weights",
    "open_checkpoint",
    "prepare",
]
