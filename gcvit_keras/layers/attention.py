"""Local and global window attention (paper section 3.2, equations 1 to 3)."""

import keras
from keras import ops

from gcvit_keras.layers.composite import CompositeLayer
from gcvit_keras.layers.conv import linear_initializer
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
        window_size: Side of a window, an integer w.
        global_query: Whether the query is given rather than projected.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`. Sizes that windows
            do not divide are padded with zeros inside and cropped after.
        query: With `global_query` only: tensor `(batch, w, w, channels)`.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """

    def __init__(self, num_heads, window_size, global_query=False, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = window_size
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
        self.qkv = keras.layers.Dense(
            (2 if self.global_query else 3) * channels,
            kernel_initializer=linear_initializer(),
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.proj = keras.layers.Dense(
            channels,
            kernel_initializer=linear_initializer(),
            dtype=self.dtype_policy,
            name="proj",
        )
        self.qkv.build((None, channels))
        self.proj.build((None, channels))
        self.relative_position_bias_table = self.add_weight(
            name="relative_position_bias_table",
            shape=((2 * self.window_size - 1) ** 2, self.num_heads),
            initializer=linear_initializer(),
        )
        self._relative_position_index = relative_position_index(
            self.window_size
        )

    def call(self, inputs, query=None):
        _, height, width, channels = ops.shape(inputs)
        padded = pad_to_windows(inputs, self.window_size)
        _, padded_height, padded_width, _ = ops.shape(padded)
        # Tokens as rows of a matrix: the projections are plain matmuls.
        tokens = ops.reshape(
            partition_windows(padded, self.window_size), (-1, channels)
        )
        parts = self._heads(self.qkv(tokens))
        if self.global_query:
            windows = (padded_height // self.window_size) * (
                padded_width // self.window_size
            )
            (q,) = self._heads(ops.reshape(query, (-1, channels)))
            # All windows of an image share its query: (a, b) -> (a a, b b).
            shape = q.shape[1:]
            q = ops.tile(q[:, None], (1, windows, 1, 1, 1))
            q = ops.reshape(q, (-1, *shape))
            k, v = parts
        else:
            q, k, v = parts
        q = q * (channels // self.num_heads) ** -0.5
        x = self.attend(q, k, v, self._position_bias())
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, channels))
        x = self.proj(x)
        x = merge_windows(x, self.window_size, padded_height, padded_width)
        return x if padded is inputs else x[:, :height, :width]

    def _heads(self, x):
        """Splits `(tokens, parts * channels)` into parts and heads.

        Returns:
            List of `parts` tensors `(windows, heads, tokens a window, c)`.
        """
        channels = self.proj.units
        parts = x.shape[-1] // channels
        shape = (
            -1,
            self.window_size**2,
            parts,
            self.num_heads,
            channels // self.num_heads,
        )
        x = ops.transpose(ops.reshape(x, shape), (2, 0, 3, 1, 4))
        return ops.unstack(x, parts, axis=0)

    def attend(self, q, k, v, bias):
        """Scaled dot-product attention; a method, as `gelu` is.

        Args:
            q: Tensor `(windows, heads, tokens, c)`, scaled.
            k: Tensor like `q`.
            v: Tensor like `q`.
            bias: Tensor `(heads, tokens, tokens)`, added to the logits.

        Returns:
            Tensor like `q`.
        """
        return ops.matmul(self.attention_weights(q, k, bias), v)

    def attention_weights(self, q, k, bias):
        """What `attend` weighs the values with.

        Args:
            q: See `attend`.
            k: See there.
            bias: See there.

        Returns:
            Tensor `(windows, heads, tokens, tokens)`, of which the last axis
            sums to one.
        """
        logits = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + bias
        return ops.softmax(logits, axis=-1)

    def _position_bias(self):
        """Tensor `(heads, tokens, tokens)`."""
        bias = ops.take(
            self.relative_position_bias_table,
            self._relative_position_index,
            axis=0,
        )
        bias = ops.cast(bias, self.compute_dtype)
        return ops.transpose(bias, (2, 0, 1))

    def compute_output_shape(self, inputs_shape, query_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "global_query": self.global_query,
        }
