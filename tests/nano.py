"""The models that tests build, and their weights as PyTorch has them."""

from pathlib import Path

import numpy as np

from gcvit_keras.weights.loading import checkpoint_variables

REFERENCE = Path(__file__).parent / "data" / "reference"

NANO = {
    "embed_dim": 16,
    "depths": (2, 2, 2, 2),
    "num_heads": (1, 2, 4, 8),
    "mlp_ratio": 3,
    "classes": 10,
}
"""The architecture of the nano references."""

SMALL = {**NANO, "depths": (1, 2, 1, 1), "input_shape": (64, 64, 3)}
"""With one global block: for tests that trace or convert it often."""

SHALLOW = {**NANO, "depths": (1, 1, 1, 1), "input_shape": (64, 64, 3)}
"""What is served: for tests in which the model itself is not the point."""


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
