"""The parts of GC ViT, as Keras layers."""

from gcvit_keras.layers.attention import WindowAttention
from gcvit_keras.layers.block import GCViTBlock
from gcvit_keras.layers.conv import (
    Downsample,
    FusedMBConv,
    SqueezeExcite,
    Stem,
)
from gcvit_keras.layers.norm import LayerNorm
from gcvit_keras.layers.query import GlobalQueryGenerator
from gcvit_keras.layers.regularization import DropPath, LayerScale

__all__ = [
    "Downsample",
    "DropPath",
    "FusedMBConv",
    "GCViTBlock",
    "GlobalQueryGenerator",
    "LayerNorm",
    "LayerScale",
    "SqueezeExcite",
    "Stem",
    "WindowAttention",
]
