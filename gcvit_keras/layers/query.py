"""The global query generator (paper section 3.2, figure 4)."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.cubic import cubic_matrix
from gcvit_keras.layers.composite import CompositeLayer
from gcvit_keras.layers.conv import FusedMBConv, halved, repeat_edges


@keras.saving.register_keras_serializable("gcvit_keras")
class GlobalQueryGenerator(CompositeLayer):
    """Query tokens of a level, pooled from its whole feature map.

    A FusedMBConv before every max-pool (3x3, stride 2), at least one. Where
    the pools do not end at the window's size, which happens off the
    resolution the windows were made for, the result is resized to it.

    Args:
        window_size: Side of the level's windows, an integer, or `(height,
            width)`; `(h, w)` below.
        num_pools: How often the map is halved: 3, 2, 0, 0 in the four levels
            of the classification models.
        se_divisor: See `SqueezeExcite`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`, the level's input.

    Returns:
        Tensor `(batch, h, w, channels)`, one query for each position of a
        window, the same for every window of an image.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import GlobalQueryGenerator
    >>> x = keras.ops.ones((2, 28, 20, 16))
    >>> tuple(GlobalQueryGenerator((7, 5), num_pools=2)(x).shape)
    (2, 7, 5, 16)
    """

    def __init__(self, window_size, num_pools, se_divisor=1, **kwargs):
        super().__init__(**kwargs)
        self.window_size = checks.sides("window_size", window_size)
        self.num_pools = num_pools
        self.se_divisor = se_divisor

    def build(self, inputs_shape):
        self.blocks = []
        batch, height, width, channels = inputs_shape
        for i in range(max(1, self.num_pools)):
            block = FusedMBConv(
                self.se_divisor,
                dtype=self.dtype_policy,
                name=f"fused_mbconv_{i}",
            )
            block.build((batch, height, width, channels))
            self.blocks.append(block)
            height, width = halved(height), halved(width)

    def call(self, inputs):
        x = inputs
        for block in self.blocks:
            x = block(x)
            if self.num_pools:
                # The reference pads with -inf. Repeating the edge cannot
                # change a maximum that the edge is part of, so the result is
                # the same, and it stays finite for int8 calibration.
                x = repeat_edges(x)
                x = ops.max_pool(x, 3, strides=2, padding="valid")
        return _resize(x, self.window_size)

    def compute_output_shape(self, inputs_shape):
        batch, _, _, channels = inputs_shape
        return (batch, *self.window_size, channels)

    def get_config(self):
        return {
            **super().get_config(),
            "window_size": self.window_size,
            "num_pools": self.num_pools,
            "se_divisor": self.se_divisor,
        }


def _resize(x, size):
    """Resizes `(batch, height, width, channels)` to `size`, cubic."""
    if tuple(x.shape[1:3]) == size:
        return x
    _, height, width, channels = ops.shape(x)
    rows = ops.cast(_matrix(height, size[0]), x.dtype)
    columns = ops.cast(_matrix(width, size[1]), x.dtype)
    x = ops.matmul(rows, ops.reshape(x, (-1, height, width * channels)))
    x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
    return ops.reshape(x, (-1, *size, channels))


def _matrix(source, target):
    if isinstance(source, int):
        return cubic_matrix(source, target).astype("float32")
    return cubic_matrix(source, target, xp=ops)
