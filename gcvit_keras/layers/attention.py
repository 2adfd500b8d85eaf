"""Local and global window attention (paper section 3.2, equations 1 to 3)."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.layers.composite import CompositeLayer, linear_initializer
from gcvit_keras.layers.window import (
    merge_windows,
    pad_to_windows,
    partition_windows,
    relative_position_index,
)


@keras.saving.register_keras_serializable("gcvit_keras")
class WindowAttention(CompositeLayer):
    """Multi-head self-attention within windows of a feature map.

    Local attention projects query, key and value from the window. Global
    attention projects key and value only; its query is the level's, the same
    for every window of its own image.

    Args:
        num_heads: Attention heads; must divide the channels.
        window_size: Side of a window, an integer, or `(height, width)`;
            `(h, w)` below.
        global_query: Whether the query is given rather than projected.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`. Sizes that windows
            do not divide are padded with zeros inside and cropped after.
        query: With `global_query` only: tensor `(batch, h, w, channels)`.

    Returns:
        Tensor `(batch, height, width, channels)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import WindowAttention
    >>> x = keras.ops.ones((2, 14, 10, 16))
    >>> tuple(WindowAttention(num_heads=2, window_size=(7, 5))(x).shape)
    (2, 14, 10, 16)
    """

    def __init__(self, num_heads, window_size, global_query=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = checks.sides("window_size", window_size)
        self.global_query = global_query

    def build(self, inputs_shape, query_shape=None):
        channels = inputs_shape[-1]
        if channels % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the channels ({channels}). "
                f"Received: num_heads={self.num_heads}"
            )
        # The reference names the fused projection qkv even where it holds
        # key and value only.
        parts = 2 if self.global_query else 3
        self.qkv = self.dense(parts * channels, "qkv")
        self.proj = self.dense(channels, "proj")
        self.qkv.build((None, channels))
        self.proj.build((None, channels))
        h, w = self.window_size
        self.relative_position_bias_table = self.add_weight(
            name="relative_position_bias_table",
            shape=((2 * h - 1) * (2 * w - 1), self.num_heads),
            initializer=linear_initializer(),
        )
        self._relative_position_index = relative_position_index(
            self.window_size
        )

    def call(self, inputs, query=None):
        _, height, width, channels = ops.shape(inputs)
        padded = pad_to_windows(inputs, self.window_size)
        _, padded_height, padded_width, _ = ops.shape(padded)
        scale = (channels // self.num_heads) ** -0.5
        if self.global_query:
            h, w = self.window_size
            windows = (padded_height // h) * (padded_width // w)
            q = partition_windows(query, self.window_size, self.num_heads)
            q = _repeat(q, windows, scale)
            k, v = self._project(padded)
        else:
            q, k, v = self._project(padded)
            q = q * scale
        x = self.attend(q, k, v, self.position_bias())
        x = merge_windows(x, self.window_size, padded_height, padded_width)
        if padded is not inputs:
            x = x[:, :height, :width]
        x = self.proj(ops.reshape(x, (-1, channels)))
        return ops.reshape(x, (-1, height, width, channels))

    def _project(self, x):
        """Projects a feature map to query, key and value, or the last two.

        Returns:
            List of tensors `(heads, windows, tokens per window, c)`.
        """
        _, height, width, channels = ops.shape(x)
        # Tokens as rows of a matrix: the projection is a plain matmul.
        x = self.qkv(ops.reshape(x, (-1, channels)))
        x = ops.reshape(x, (-1, height, width, x.shape[-1]))
        parts = x.shape[-1] // channels
        x = partition_windows(x, self.window_size, parts * self.num_heads)
        return ops.split(x, parts, axis=0)

    def attend(self, q, k, v, bias):
        """Computes scaled dot-product attention.

        A method of its own so that `gcvit_training.cpu` can replace it.

        Args:
            q: Tensor `(heads, windows, tokens, c)`, scaled.
            k: Tensor like `q`.
            v: Tensor like `q`.
            bias: Tensor `(heads, 1, tokens, tokens)`, added to the logits.

        Returns:
            Tensor like `q`.
        """
        return ops.matmul(self.attention_weights(q, k, bias), v)

    def attention_weights(self, q, k, bias):
        """Computes the weights of the values in `attend`.

        Args:
            q: See `attend`.
            k: See `attend`.
            bias: See `attend`.

        Returns:
            Tensor `(heads, windows, tokens, tokens)`, of which the last axis
            sums to one.
        """
        logits = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + bias
        if logits.shape[-1] == 1:
            # At 32 x 32 pixels the last windows hold one key, and Keras warns
            # of a softmax over it. This is one, too, with a gradient of zero.
            return ops.exp(logits - logits)
        return ops.softmax(logits, axis=-1)

    def position_bias(self):
        """Gathers the bias `(heads, 1, tokens, tokens)` from the table."""
        # Along the last axis the gradient of the table is dense. Along the
        # first it is `tf.IndexedSlices`, of every pair of tokens, which XLA
        # cannot add up over replicas.
        bias = ops.take(
            ops.transpose(self.relative_position_bias_table),
            self._relative_position_index,
            axis=1,
        )
        bias = ops.cast(bias, self.compute_dtype)
        return ops.reshape(bias, (self.num_heads, 1, *bias.shape[1:]))

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "global_query": self.global_query,
        }


def _repeat(q, windows, scale):
    """Gives all windows of an image its query, scaled.

    `(heads, batch, tokens, c)` becomes `(heads, batch * windows, tokens, c)`.
    """
    heads, _, tokens, c = q.shape
    q = ops.reshape(q, (heads, -1, 1, tokens * c))
    # A product repeats and scales in one pass.
    q = q * ops.full((windows, 1), scale, q.dtype)
    return ops.reshape(q, (heads, -1, tokens, c))
