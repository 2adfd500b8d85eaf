"""The convolution over all levels, without making the coarse ones large."""

import keras
from keras import ops

from gcvit_keras.segmentation.conv_norm import ConvNorm
from gcvit_keras.segmentation.resize import resize_matrix


@keras.saving.register_keras_serializable("gcvit_keras")
class Fusion(ConvNorm):
    """Resizes maps to the finest, joins their channels, and convolves (3x3).

    Resizing, and each of the nine parts of the kernel, is linear, and so they
    may change places: a coarse map is multiplied by the nine parts as it is,
    and the products are resized, shifted and added up. That takes 30 % of the
    multiplications that the joined map would take.

    Args:
        filters: Channels of the result, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: List of tensors `(batch, height, width, channels)`, the finest
            first.
        training: Whether batch normalisation follows.

    Returns:
        Tensor `(batch, height, width, filters)` of the finest map's size.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import Fusion
    >>> maps = [np.zeros((1, side, side, 8)) for side in (16, 8, 4, 2)]
    >>> Fusion(4)(maps).shape
    TensorShape([1, 16, 16, 4])
    """

    def __init__(self, filters, **kwargs):
        super().__init__(filters, 3, **kwargs)

    def channels(self, inputs_shape):
        return sum(shape[-1] for shape in inputs_shape)

    def convolve(self, inputs, kernel):
        finest, *coarse = inputs
        size = ops.shape(finest)[1:3]
        begin = finest.shape[-1]
        total = ops.conv(finest, kernel[:, :, :begin], padding="same")
        for x in coarse:
            end = begin + x.shape[-1]
            total = total + _convolved(x, kernel[:, :, begin:end], size)
            begin = end
        return total

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[0][:-1], self.filters)

    def get_config(self):
        config = super().get_config()
        del config["kernel_size"]
        return config


def _convolved(x, kernel, size):
    """A 3x3 convolution of `x` resized, tensor `(batch, *size, filters)`."""
    _, height, width, _ = ops.shape(x)
    rows = _shifted_resize(height, size[0], x.dtype)  # (size[0], 3 * height)
    columns = _shifted_resize(width, size[1], x.dtype)
    parts = []
    for i in range(3):
        products = [ops.matmul(x, kernel[i, j]) for j in range(3)]
        # (batch, height, 3 * width, filters)
        parts.append(ops.matmul(columns, ops.concatenate(products, axis=2)))
    x = ops.concatenate(parts, axis=1)  # (batch, 3 * height, size[1], filters)
    filters = x.shape[-1]
    x = ops.reshape(x, (-1, 3 * height, size[1] * filters))
    return ops.reshape(ops.matmul(rows, x), (-1, *size, filters))


def _shifted_resize(source, target, dtype):
    """Matrices that resize an axis and shift it by -1, 0 and 1, side by side.

    What is shifted in from outside is zero, as the padding of a convolution.
    """
    matrix = resize_matrix(source, target, dtype)
    zero = ops.zeros_like(matrix[:1])
    before = ops.concatenate([zero, matrix[:-1]], axis=0)
    after = ops.concatenate([matrix[1:], zero], axis=0)
    return ops.concatenate([before, matrix, after], axis=1)
