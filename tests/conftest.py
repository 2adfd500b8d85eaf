"""What all tests share: quiet TensorFlow, fixed seeds, the nano model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pytest

import gcvit_keras
from gcvit_keras.weights.porting import checkpoint_variables

REFERENCE = Path(__file__).parent / "data" / "reference"

NANO = {
    "embed_dim": 16,
    "depths": (2, 2, 2, 2),
    "num_heads": (1, 2, 4, 8),
    "mlp_ratio": 3,
    "classes": 10,
}
"""The architecture of the nano references."""


@pytest.fixture(autouse=True)
def _fixed_seed_and_policy():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def nano():
    """Builds a nano model; keywords override."""

    def build(**overrides):
        return gcvit_keras.GCViT(**{**NANO, **overrides})

    return build


@pytest.fixture
def images():
    """Makes random images of a shape, pixels in [0, 255]."""

    def make(*shape, seed=0):
        pixels = np.random.default_rng(seed).random(shape, "float32")
        return 255 * pixels

    return make


def pytorch_tensors(model, scheme):
    """The weights of a model as PyTorch would have named and laid them."""
    tensors = {}
    for key, variable in checkpoint_variables(model, scheme).items():
        value = np.asarray(variable)
        if "relative_position" in key or value.ndim == 1:
            pass
        elif "/depthwise/" in variable.path:
            value = value.transpose(2, 3, 0, 1)
        elif value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif "se.fc" in key:  # timm's are 1 x 1 convolutions
            value = value.T[:, :, None, None]
        else:
            value = value.T
        tensors[key] = np.ascontiguousarray(value)
    return tensors
