"""The feature pyramid network (arXiv 1612.03144)."""

import keras
from keras import ops

from gcvit_keras.models.pyramid import LEVELS


@keras.saving.register_keras_serializable("gcvit_keras")
class FeaturePyramid(keras.layers.Layer):
    """Gives all levels the same width and the coarse levels' context.

    A 1x1 convolution per level; from coarse to fine, each map doubled to the
    size of the next finer one and added to it; a 3x3 convolution per sum. P6 is
    every second pixel of P5.

    Args:
        filters: Channels of every level of the result, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Dict of `"P2"` to `"P5"`, tensors `(batch, height, width,
            channels)` at strides 4, 8, 16 and 32.

    Returns:
        Dict of `"P2"` to `"P6"`, tensors `(batch, height, width, filters)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.fpn import FeaturePyramid
    >>> sides = {"P2": 16, "P3": 8, "P4": 4, "P5": 2}
    >>> maps = {k: np.zeros((1, s, s, 8)) for k, s in sides.items()}
    >>> {k: v.shape[1:] for k, v in FeaturePyramid(4)(maps).items()}["P6"]
    TensorShape([1, 1, 4])
    """

    def __init__(self, filters=256, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, inputs_shape):
        self.laterals, self.smooths = {}, {}
        for level in LEVELS:
            self.laterals[level] = self._conv(1, f"lateral_{level}")
            self.laterals[level].build(inputs_shape[level])
            self.smooths[level] = self._conv(3, f"smooth_{level}")
            self.smooths[level].build((None, None, None, self.filters))

    def _conv(self, size, name):
        return keras.layers.Conv2D(
            self.filters,
            size,
            padding="same",
            kernel_initializer="glorot_uniform",
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, inputs):
        maps = {k: self.laterals[k](inputs[k]) for k in LEVELS}
        for coarse, fine in (("P5", "P4"), ("P4", "P3"), ("P3", "P2")):
            maps[fine] += _doubled(maps[coarse], like=maps[fine])
        outputs = {k: self.smooths[k](maps[k]) for k in LEVELS}
        return {**outputs, "P6": outputs["P5"][:, ::2, ::2]}

    def compute_output_shape(self, inputs_shape):
        shapes = {k: (*inputs_shape[k][:3], self.filters) for k in LEVELS}
        batch, *sides, _ = shapes["P5"]
        sides = [None if s is None else (s + 1) // 2 for s in sides]
        return {**shapes, "P6": (batch, *sides, self.filters)}

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def _doubled(x, like):
    """Repeats every pixel 2 x 2, cropped to the size of the finer map.

    That is PyTorch's nearest resize to that size, since a coarse side is half
    the finer one, rounded up.
    """
    _, height, width, _ = ops.shape(like)
    x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
    return x[:, :height, :width]
