"""UPerNet's head (arXiv 1807.10221, figure 4)."""

import keras
from keras import ops

from gcvit_keras.models.pyramid import LEVELS
from gcvit_keras.segmentation.conv_norm import ConvNorm
from gcvit_keras.segmentation.fusion import Fusion
from gcvit_keras.segmentation.pyramid_pooling import PyramidPooling
from gcvit_keras.segmentation.resize import resized


@keras.saving.register_keras_serializable("gcvit_keras")
class UPerHead(keras.layers.Layer):
    """Joins the four maps of a backbone to one, for a classifier of pixels.

    The deepest map is given its pooled pyramid, the others a 1x1 convolution;
    from coarse to fine, each is resized to the next finer one and added to it;
    a 3x3 convolution per sum; and one over all of them in the finest's size.

    Args:
        filters: Channels of every convolution, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Dict of `"P2"` to `"P5"`, tensors `(batch, height, width,
            channels)` at strides 4, 8, 16 and 32.
        training: Whether batch normalisation follows.

    Returns:
        Tensor `(batch, height, width, filters)` at stride 4.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import UPerHead
    >>> sides = {"P2": 16, "P3": 8, "P4": 4, "P5": 2}
    >>> maps = {k: np.zeros((1, s, s, 8)) for k, s in sides.items()}
    >>> UPerHead(4)(maps).shape
    TensorShape([1, 16, 16, 4])
    """

    def __init__(self, filters=512, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, inputs_shape):
        self.pyramid_pooling = PyramidPooling(
            self.filters, dtype=self.dtype_policy, name="pyramid_pooling"
        )
        self.pyramid_pooling.build(inputs_shape["P5"])
        self.laterals, self.smooths = {}, {}
        for level in LEVELS[:-1]:
            self.laterals[level] = self._conv(1, f"lateral_{level}")
            self.laterals[level].build(inputs_shape[level])
            self.smooths[level] = self._conv(3, f"smooth_{level}")
            self.smooths[level].build((None, None, None, self.filters))
        self.fusion = Fusion(
            self.filters, dtype=self.dtype_policy, name="fusion"
        )
        self.fusion.build([(None, None, None, self.filters)] * len(LEVELS))

    def _conv(self, size, name):
        return ConvNorm(self.filters, size, dtype=self.dtype_policy, name=name)

    def call(self, inputs, training=None):
        maps = {
            level: lateral(inputs[level], training=training)
            for level, lateral in self.laterals.items()
        }
        maps["P5"] = self.pyramid_pooling(inputs["P5"], training=training)
        for coarse, fine in (("P5", "P4"), ("P4", "P3"), ("P3", "P2")):
            size = ops.shape(maps[fine])[1:3]
            maps[fine] = maps[fine] + resized(maps[coarse], size)
        for level, smooth in self.smooths.items():
            maps[level] = smooth(maps[level], training=training)
        return self.fusion([maps[k] for k in LEVELS], training=training)

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape["P2"][:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
