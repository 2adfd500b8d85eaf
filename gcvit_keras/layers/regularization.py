"""Stochastic depth and layer scale."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("gcvit_keras")
class DropPath(keras.layers.Dropout):
    """Drops a residual branch of whole images (arXiv 1603.09382).

    Dropout with one decision per image: right in mixed precision, in graphs
    and under XLA, where the `StochasticDepth` of keras-cv and keras-hub fail.

    Args:
        rate: Probability of dropping, in [0, 1].
        seed: Integer seed, or `None`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        training: Whether to drop; otherwise the input is returned.

    Returns:
        Tensor of the same shape, images kept scaled by `1 / (1 - rate)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import DropPath
    >>> images = keras.ops.ones((1000, 2, 2, 3))
    >>> kept = DropPath(0.25, seed=1)(images, training=True)
    >>> sorted({round(float(x), 3) for x in kept[:, 0, 0, 0]})
    [0.0, 1.333]
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(rate, noise_shape=(None, 1, 1, 1), seed=seed, **kwargs)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        kept = ops.cast(self.draw(ops.shape(inputs)[0]), inputs.dtype)
        # One product: Keras's dropout scales and selects, a pass each.
        return inputs * ops.reshape(kept * self.scale, (-1, 1, 1, 1))

    @property
    def scale(self):
        """Factor on the branches that are kept, a float."""
        return 1 / max(1 - self.rate, 1e-7)

    def draw(self, images):
        """Draws whether each of so many images keeps its branch.

        Args:
            images: An integer.

        Returns:
            Boolean tensor `(images,)`.
        """
        draws = keras.random.uniform((images,), seed=self.seed_generator)
        return draws >= self.rate

    def get_config(self):
        config = super().get_config()
        del config["noise_shape"]
        return config


@keras.saving.register_keras_serializable("gcvit_keras")
class LayerScale(keras.layers.Layer):
    """A learned factor per channel (arXiv 2103.17239).

    Args:
        initial_value: Value that every factor starts from, a float.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(..., channels)`.

    Returns:
        Tensor of the same shape.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import LayerScale
    >>> float(LayerScale(0.5)(keras.ops.ones((1, 3)))[0, 0])
    0.5
    """

    def __init__(self, initial_value, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, inputs_shape):
        self.gamma = self.add_weight(
            name="gamma",
            shape=(inputs_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_value),
        )

    def call(self, inputs):
        return inputs * self.gamma

    def compute_output_shape(self, inputs_shape):
        return inputs_shape

    def get_config(self):
        return {**super().get_config(), "initial_value": self.initial_value}
