"""Small detectors of random values, and what to give them."""

import numpy as np

from gcvit_keras import GCViTBackbone
from gcvit_keras.detection import MaskRCNN

SMALL = {"fpn_channels": 8, "fc_channels": 16, "backbone_weights": None}


def backbone(**overrides):
    """A backbone of five blocks."""
    arguments = {
        "embed_dim": 8,
        "depths": (1, 2, 1, 1),
        "num_heads": (1, 1, 2, 2),
        "mlp_ratio": 2,
        "window_size": (4, 4, 4, 4),
        "level_norms": True,
    }
    return GCViTBackbone(**{**arguments, **overrides})


def make(detector_class=MaskRCNN, **overrides):
    """A detector of three classes."""
    return detector_class(backbone(), 3, **{**SMALL, "seed": 1, **overrides})


def batch(n=2, size=(64, 96), seed=0, objects=3):
    """Images and targets of rectangles, one object less in the last image."""
    random = np.random.default_rng(seed)
    height, width = size
    images = 255 * random.random((n, height, width, 3), "float32")
    low = random.uniform(0, 0.5, (n, objects, 2)) * [width, height]
    high = low + random.uniform(0.2, 0.5, (n, objects, 2)) * [width, height]
    boxes = np.concatenate([low, high], axis=-1).astype("float32")
    classes = random.integers(0, 3, (n, objects)).astype("int32")
    masks = np.zeros((n, objects, height, width), "uint8")
    for i in range(n):
        for j, (x1, y1, x2, y2) in enumerate(boxes[i].astype(int)):
            masks[i, j, y1:y2, x1:x2] = 1
    classes[-1, -1], boxes[-1, -1] = -1, 0
    return images, {"boxes": boxes, "classes": classes, "masks": masks}
