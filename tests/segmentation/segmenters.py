"""Small segmenters, the one that mmsegmentation's numbers are of, and these."""

import json
import os
from pathlib import Path

import keras
import numpy as np

from gcvit_keras import GCViTBackbone
from gcvit_keras.segmentation import UPerNet

OWN = Path(__file__).parent.parent / "data" / "segmentation"
FOLDER = Path(os.environ.get("GCVIT_REFERENCE", OWN))


class Reference:
    """The numbers of mmsegmentation's UPerNet.

    Attributes:
        facts: The JSON file.
        io: The arrays.
        weights: Path of the state dict.
    """

    def __init__(self):
        file = FOLDER / "official_upernet_nano"
        self.weights = f"{file}.safetensors"
        self.facts = json.loads(Path(f"{file}.json").read_text())
        self.io = np.load(f"{file}_io.npz")

    def model(self, **overrides):
        """Builds the segmenter, with the reference's weights by default."""
        backbone = GCViTBackbone(
            embed_dim=16,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            mlp_ratio=3,
            window_size=(12, 12, 12, 12),
            query_pools=(3, 2, 1, 0),
            level_norms=True,
            include_preprocessing=False,
        )
        arguments = {
            "weights": self.weights,
            "channels": 32,
            "auxiliary_channels": 32,
            "dropout": 0.0,
            **overrides,
        }
        return UPerNet(backbone, 7, **arguments)


def small(classes=3, backbone=None, **overrides):
    """A segmenter of four blocks."""
    keras.utils.set_random_seed(0)  # the same whatever ran before
    arguments = {
        "embed_dim": 8,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 1, 1, 1),
        "mlp_ratio": 1,
        "window_size": (4, 4, 4, 4),
        "level_norms": True,
        **(backbone or {}),
    }
    overrides = {"channels": 8, "auxiliary_channels": 8, **overrides}
    return UPerNet(GCViTBackbone(**arguments), classes, **overrides)


def close(found, expected, tolerance=1e-4):
    """Compares to a share of the largest value."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(
        found, expected, atol=tolerance * np.abs(expected).max(), rtol=0
    )
