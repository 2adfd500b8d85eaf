"""What all tests share: quiet TensorFlow, fixed seeds, the nano model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pytest

import gcvit_keras

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
