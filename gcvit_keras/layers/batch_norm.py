"""Batch normalisation as PyTorch computes it, with rows left out."""

import keras
from keras import ops

from gcvit_keras.layers.replicas import sum_over_replicas


@keras.saving.register_keras_serializable("gcvit_keras")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation (arXiv 1502.03167) with PyTorch's settings.

    The running variance follows the unbiased one, and the statistics are of
    the rows that are used, of all replicas together ("SyncBN").

    Args:
        momentum: Share of the running statistics that a step keeps; 0.9,
            which PyTorch calls 0.1.
        epsilon: Added to the variance; 1e-5, as in PyTorch.
        **kwargs: Arguments of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: Tensor `(rows, height, width, channels)`.
        training: Whether to use, and follow, the statistics of the batch.
        is_used: Boolean tensor `(rows,)`: which rows count; all by default.

    Returns:
        Tensor of the same shape.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, is_used=None):
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            mean, variance, count = self._batch_statistics(x, is_used)
            unbiased = variance * (count / ops.maximum(count - 1, 1))
            self._follow(self.moving_mean, mean, count > 0)
            self._follow(self.moving_variance, unbiased, count > 0)
        scale, offset = self._linear(mean, variance)
        return ops.cast(x * scale + offset, self.compute_dtype)

    def linear(self):
        """Computes the layer's factors: outside of training it is linear.

        Returns:
            Tuple of scale and offset, tensors `(channels,)`, with which the
            layer is `x * scale + offset`.
        """
        return self._linear(self.moving_mean, self.moving_variance)

    def _linear(self, mean, variance):
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return scale, self.beta - mean * scale

    def _batch_statistics(self, x, is_used):
        """Computes mean and variance per channel, and counts their values."""
        rows, height, width, _ = ops.shape(x)
        if is_used is None:
            is_used = ops.ones((rows,), x.dtype)
        weights = ops.reshape(ops.cast(is_used, x.dtype), (-1, 1, 1, 1))
        axes = (0, 1, 2)
        pixels = ops.cast(height * width, x.dtype)
        count = sum_over_replicas(ops.sum(weights) * pixels)
        least = ops.maximum(count, 1)
        mean = sum_over_replicas(ops.sum(x * weights, axes)) / least
        deviations = ops.square(x - mean) * weights
        variance = sum_over_replicas(ops.sum(deviations, axes)) / least
        return mean, variance, count

    def _follow(self, running, value, is_known):
        # A tensor, as JAX's `where` refuses a variable while it compiles.
        before = ops.convert_to_tensor(running)
        value = ops.where(is_known, value, before)
        running.assign(running * self.momentum + value * (1 - self.momentum))
