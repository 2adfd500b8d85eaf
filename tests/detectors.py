"""A nano detector that finds much, for tests of what is made of detectors."""

import keras
import numpy as np

from gcvit_keras import GCViTBackbone
from gcvit_keras.detection import MaskRCNN


def detector(seed=1, **overrides):
    """A Mask R-CNN of three classes, whose scores differ from box to box."""
    keras.utils.set_random_seed(0)  # the same whatever ran before
    backbone = GCViTBackbone(
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 1, 2, 2),
        mlp_ratio=2,
        window_size=(4, 4, 4, 4),
        level_norms=True,
    )
    arguments = {
        "fpn_channels": 8,
        "fc_channels": 16,
        "score_threshold": 0.1,
        "max_detections": 20,
        "seed": 1,
    }
    model = MaskRCNN(backbone, 3, **{**arguments, **overrides})
    random = np.random.default_rng(seed)
    for variable in model.get_layer("box_head").trainable_variables:
        if len(variable.shape) == 2:
            spread = 0.8 / variable.shape[0] ** 0.5
            variable.assign(random.normal(0, spread, variable.shape))
    return model
