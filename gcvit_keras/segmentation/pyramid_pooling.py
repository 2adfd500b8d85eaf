"""The pooled pyramid (PSPNet, arXiv 1612.01105, section 3.2)."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.segmentation.conv_norm import ConvNorm
from gcvit_keras.segmentation.resize import resized


@keras.saving.register_keras_serializable("gcvit_keras")
class PyramidPooling(keras.layers.Layer):
    """Adds to each pixel the means of the map's parts, from coarse to fine.

    The map is averaged over grids of a few cells; each is given a 1x1
    convolution and the map's size again; a 3x3 convolution joins the map and
    all of them.

    Args:
        filters: Channels of every branch and of the result, an integer.
        scales: Cells per side of each grid, integers.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        training: Whether batch normalisation follows.

    Returns:
        Tensor `(batch, height, width, filters)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import PyramidPooling
    >>> PyramidPooling(8)(np.zeros((1, 5, 7, 16))).shape
    TensorShape([1, 5, 7, 8])
    """

    def __init__(self, filters=512, scales=(1, 2, 3, 6), **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.scales = tuple(checks.integer("scales", s) for s in scales)

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        self.branches = []
        for i in range(len(self.scales)):
            branch = ConvNorm(
                self.filters, 1, dtype=self.dtype_policy, name=f"branch_{i}"
            )
            branch.build((None, None, None, channels))
            self.branches.append(branch)
        self.bottleneck = ConvNorm(
            self.filters, 3, dtype=self.dtype_policy, name="bottleneck"
        )
        channels += self.filters * len(self.scales)
        self.bottleneck.build((None, None, None, channels))

    def call(self, inputs, training=None):
        size = ops.shape(inputs)[1:3]
        maps = [inputs]
        for scale, branch in zip(self.scales, self.branches, strict=True):
            x = branch(averages(inputs, scale), training=training)
            maps.append(resized(x, size))
        return self.bottleneck(ops.concatenate(maps, -1), training=training)

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "scales": self.scales,
        }


def averages(x, cells):
    """Averages a map over a grid of `cells` per side, which may share pixels.

    Cell i of n reaches from pixel `floor(i * size / n)` to
    `ceil((i + 1) * size / n)`, as PyTorch's adaptive average pooling.
    `(batch, height, width, channels)` becomes
    `(batch, cells, cells, channels)`.
    """
    if cells == 1:
        return ops.mean(x, axis=(1, 2), keepdims=True)
    _, height, width, _ = ops.shape(x)
    rows = _averaging_matrix(height, cells, x.dtype)
    columns = _averaging_matrix(width, cells, x.dtype)
    x = ops.matmul(columns, x)  # (batch, height, cells, channels)
    return ops.einsum("ih,bhwc->biwc", rows, x)


def _averaging_matrix(size, cells, dtype):
    """Tensor `(cells, size)` of the share of each pixel in each cell."""
    cell = ops.arange(cells, dtype="int32")
    pixel = ops.arange(size, dtype="int32")[None]
    first = cell * size // cells
    last = ((cell + 1) * size + cells - 1) // cells
    inside = (pixel >= first[:, None]) & (pixel < last[:, None])
    count = ops.cast(last - first, "float32")[:, None]
    return ops.cast(ops.cast(inside, "float32") / count, dtype)
