"""Layer normalisation."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("gcvit_keras")
class LayerNorm(keras.layers.LayerNormalization):
    """Layer normalisation over the channels (arXiv 1607.06450).

    It is Keras's with fewer passes over the feature map, and no cancellation
    where the mean is far larger than the deviation.

    Args:
        epsilon: Added to the variance; 1e-5, as in PyTorch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(..., channels)`.

    Returns:
        Tensor of the same shape, computed in float32 at least.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import LayerNorm
    >>> x = keras.ops.ones((2, 7, 7, 16))
    >>> tuple(LayerNorm()(x).shape)
    (2, 7, 7, 16)
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def build(self, inputs_shape):
        if self.axis not in (-1, [-1]) or not (self.center and self.scale):
            raise ValueError(
                "`LayerNorm` is over the last axis, with gamma and beta. "
                f"Received: axis={self.axis}, center={self.center}, "
                f"scale={self.scale}"
            )
        super().build(inputs_shape)

    def call(self, inputs):
        if keras.backend.backend() == "torch":
            return super().call(inputs)  # PyTorch's own kernel
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        _, *inner, channels = ops.shape(inputs)
        # As rows, which is what oneDNN and XNNPACK are fast with.
        x = ops.cast(ops.reshape(inputs, (-1, channels)), dtype)
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(variance + self.epsilon)
        # Eagerly TensorFlow multiplies no float32 by a bfloat16 variable.
        x = x * ops.cast(self.gamma, dtype) + ops.cast(self.beta, dtype)
        x = ops.cast(x, self.compute_dtype)
        return ops.reshape(x, (-1, *inner, channels))
