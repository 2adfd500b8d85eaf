"""Convolution, batch normalisation and ReLU, of which the heads are made."""

import keras
from keras import ops

from gcvit_keras.layers.batch_norm import BatchNorm
from gcvit_keras.layers.initializers import relu_initializer


@keras.saving.register_keras_serializable("gcvit_keras")
class ConvNorm(keras.layers.Layer):
    """A convolution without bias, batch normalisation, ReLU.

    Outside of training the normalisation is multiplied into the kernel, which
    saves two passes over the map.

    Args:
        filters: Channels of the result, an integer.
        kernel_size: Side of the kernel, an odd integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        training: Whether to use, and follow, the statistics of the batch.

    Returns:
        Tensor `(batch, height, width, filters)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import ConvNorm
    >>> ConvNorm(4, 3)(np.zeros((1, 8, 6, 2))).shape
    TensorShape([1, 8, 6, 4])
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, inputs_shape):
        side = self.kernel_size
        self.kernel = self.add_weight(
            shape=(side, side, self.channels(inputs_shape), self.filters),
            initializer=relu_initializer(),
            autocast=False,  # is multiplied before it is rounded
            name="kernel",
        )
        self.norm = BatchNorm(dtype=self.dtype_policy, name="norm")
        self.norm.build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        if training and self.norm.trainable:
            kernel = ops.cast(self.kernel, self.compute_dtype)
            x = self.norm(self.convolve(inputs, kernel), training=True)
            return ops.relu(x)
        scale, offset = self.norm.linear()
        kernel = ops.cast(self.kernel * scale, self.compute_dtype)
        x = self.convolve(inputs, kernel)
        return ops.relu(x + ops.cast(offset, x.dtype))

    def channels(self, inputs_shape):
        """Counts the channels that the kernel reads.

        Args:
            inputs_shape: Shape, or shapes, of the inputs.

        Returns:
            Integer.
        """
        return inputs_shape[-1]

    def convolve(self, inputs, kernel):
        """Applies the kernel, with zeros around the map.

        Args:
            inputs: See the call.
            kernel: Tensor `(kernel_size, kernel_size, channels, filters)`.

        Returns:
            Tensor `(batch, height, width, filters)`.
        """
        return ops.conv(inputs, kernel, padding="same")

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }
