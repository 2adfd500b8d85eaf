"""GC ViT (Global Context Vision Transformers, ICML 2023) for Keras 3."""

from gcvit_keras import detection, explain, layers, segmentation
from gcvit_keras.images import ImageReader, load_image
from gcvit_keras.models.backbone import GCViTBackbone
from gcvit_keras.models.classifier import GCViT
from gcvit_keras.models.constructors import (
    GCViTBase,
    GCViTLarge,
    GCViTSmall,
    GCViTSmall2,
    GCViTTiny,
    GCViTTiny2,
    GCViTXTiny,
    GCViTXXTiny,
)
from gcvit_keras.models.preprocessing import (
    decode_predictions,
    preprocess_input,
)
from gcvit_keras.models.structure import feature_pyramid
from gcvit_keras.variants import VARIANTS, Variant
from gcvit_keras.weights import (
    PRESETS,
    DownloadError,
    Preset,
    download_weights,
    find_preset,
    load_weights,
)

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "VARIANTS",
    "DownloadError",
    "GCViT",
    "GCViTBackbone",
    "GCViTBase",
    "GCViTLarge",
    "GCViTSmall",
    "GCViTSmall2",
    "GCViTTiny",
    "GCViTTiny2",
    "GCViTXTiny",
    "GCViTXXTiny",
    "ImageReader",
    "Preset",
    "Variant",
    "decode_predictions",
    "detection",
    "download_weights",
    "explain",
    "feature_pyramid",
    "find_preset",
    "layers",
    "load_image",
    "load_weights",
    "preprocess_input",
    "segmentation",
]
