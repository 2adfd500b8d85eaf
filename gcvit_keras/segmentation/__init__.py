"""Semantic segmentation on GC ViT: a class for each pixel."""

from gcvit_keras.segmentation.colours import class_colours, overlay
from gcvit_keras.segmentation.conv_norm import ConvNorm
from gcvit_keras.segmentation.fcn_head import FCNHead
from gcvit_keras.segmentation.fusion import Fusion
from gcvit_keras.segmentation.losses import (
    PixelCrossentropy,
    pixel_crossentropy,
)
from gcvit_keras.segmentation.pyramid_pooling import PyramidPooling
from gcvit_keras.segmentation.resize import ResizeLike
from gcvit_keras.segmentation.uper_head import UPerHead
from gcvit_keras.segmentation.upernet import UPerNet

__all__ = [
    "ConvNorm",
    "FCNHead",
    "Fusion",
    "PixelCrossentropy",
    "PyramidPooling",
    "ResizeLike",
    "UPerHead",
    "UPerNet",
    "class_colours",
    "overlay",
    "pixel_crossentropy",
]
