"""Bilinear resizing with half-pixel centres, as PyTorch's, also as a matrix."""

import keras
from keras import ops


def resized(x, size):
    """Resizes maps bilinearly: half-pixel centres, no antialiasing.

    `(batch, height, width, channels)` becomes `(batch, *size, channels)`; the
    sides may be scalar tensors.
    """
    known = all(isinstance(side, int) for side in size)
    if known and tuple(size) == tuple(x.shape[1:3]):
        return x
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Keras 3.15's own refuses sizes that only a graph knows.
        return tf.cast(tf.image.resize(x, ops.stack(size)), x.dtype)
    x_of_size = ops.image.resize(x, tuple(size), interpolation="bilinear")
    return ops.cast(x_of_size, x.dtype)


def resize_matrix(source, target, dtype):
    """Makes the matrix `(target, source)` that resizes an axis as `resized`.

    It is multiplied from the left; the sizes may be scalar tensors.
    """
    columns = ops.arange(source, dtype="float32")
    scale = ops.cast(source, "float32") / ops.cast(target, "float32")
    position = (ops.arange(target, dtype="float32") + 0.5) * scale - 0.5
    position = ops.clip(position, 0.0, columns[-1])  # edges are repeated
    distance = ops.abs(position[:, None] - columns[None, :])
    return ops.cast(ops.maximum(1.0 - distance, 0.0), dtype)


@keras.saving.register_keras_serializable("gcvit_keras")
class ResizeLike(keras.layers.Layer):
    """Resizes maps bilinearly to the size of another tensor.

    Args:
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        like: Tensor `(batch, target height, target width, any)`.

    Returns:
        Tensor `(batch, target height, target width, channels)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import ResizeLike
    >>> x, like = np.zeros((1, 4, 6, 2)), np.zeros((1, 15, 23, 3))
    >>> ResizeLike()(x, like).shape
    TensorShape([1, 15, 23, 2])
    """

    def call(self, inputs, like):
        return resized(inputs, ops.shape(like)[1:3])

    def compute_output_shape(self, inputs_shape, like_shape):
        return (inputs_shape[0], *like_shape[1:3], inputs_shape[-1])
