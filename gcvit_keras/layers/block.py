"""One GC ViT block (paper figure 2)."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.layers.attention import WindowAttention
from gcvit_keras.layers.composite import CompositeLayer
from gcvit_keras.layers.norm import LayerNorm
from gcvit_keras.layers.regularization import DropPath, LayerScale


@keras.saving.register_keras_serializable("gcvit_keras")
class GCViTBlock(CompositeLayer):
    """Window attention, then an MLP, each normalised first and residual.

    Args:
        num_heads: Attention heads; must divide the channels.
        window_size: Side of a window, an integer, or `(height, width)`;
            `(h, w)` below.
        global_query: Whether attention takes the level's query (the odd
            blocks of a level) or its own (the even ones).
        mlp_ratio: Hidden width of the MLP over the channels.
        layer_scale: Initial value of the layer scales, `None` for none.
        drop_path_rate: Probability of dropping each residual branch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        query: With `global_query` only: tensor `(batch, h, w, channels)`.
        training: Whether to drop paths.

    Returns:
        Tensor `(batch, height, width, channels)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import GCViTBlock
    >>> x = keras.ops.ones((2, 14, 10, 16))
    >>> tuple(GCViTBlock(num_heads=2, window_size=7)(x).shape)
    (2, 14, 10, 16)
    """

    def __init__(
        self,
        num_heads,
        window_size,
        global_query=False,
        mlp_ratio=3.0,
        layer_scale=None,
        drop_path_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = checks.sides("window_size", window_size)
        self.global_query = global_query
        self.mlp_ratio = mlp_ratio
        self.layer_scale = layer_scale
        self.drop_path_rate = drop_path_rate

    def build(self, inputs_shape, query_shape=None):
        channels = inputs_shape[-1]
        hidden = int(channels * self.mlp_ratio)
        dtype = self.dtype_policy
        self.norm1 = LayerNorm(dtype=dtype, name="norm1")
        self.attention = WindowAttention(
            self.num_heads,
            self.window_size,
            self.global_query,
            dtype=dtype,
            name="attention",
        )
        self.norm2 = LayerNorm(dtype=dtype, name="norm2")
        self.mlp_expand = self.dense(hidden, "mlp_expand")
        self.mlp_project = self.dense(channels, "mlp_project")
        self.norm1.build(inputs_shape)
        self.attention.build(inputs_shape, query_shape)
        self.norm2.build(inputs_shape)
        self.mlp_expand.build((None, channels))
        self.mlp_project.build((None, hidden))
        self.scale1 = self.scale2 = None
        if self.layer_scale is not None:
            self.scale1 = LayerScale(
                self.layer_scale, dtype=dtype, name="scale1"
            )
            self.scale2 = LayerScale(
                self.layer_scale, dtype=dtype, name="scale2"
            )
            self.scale1.build(inputs_shape)
            self.scale2.build(inputs_shape)
        self.drop_path1 = DropPath(
            self.drop_path_rate, dtype=dtype, name="drop_path1"
        )
        self.drop_path2 = DropPath(
            self.drop_path_rate, dtype=dtype, name="drop_path2"
        )

    def call(self, inputs, query=None, training=False):
        x = self.residual(
            self._attend, self.drop_path1, training, inputs, query
        )
        return self.residual(self._mlp, self.drop_path2, training, x)

    def residual(self, branch, drop_path, training, inputs, query=None):
        """Adds a residual branch; `gcvit_training.cpu` replaces the method.

        Args:
            branch: Function of `inputs` and `query`, shaped like `inputs`.
            drop_path: The branch's `DropPath`.
            training: Whether to drop paths.
            inputs: Tensor `(batch, height, width, channels)`.
            query: Tensor `(batch, h, w, channels)` or `None`.

        Returns:
            Tensor `(batch, height, width, channels)`.
        """
        x = branch(inputs, query)
        _, height, width, channels = ops.shape(inputs)
        shape = (-1, height, width, channels)
        if training:
            x = drop_path(ops.reshape(x, shape), training=training)
            return inputs + x
        # As rows: a sum right behind a plain matmul is one operation with it.
        return ops.reshape(ops.reshape(inputs, (-1, channels)) + x, shape)

    def _attend(self, inputs, query):
        x = self.attention(self.norm1(inputs), query)
        x = ops.reshape(x, (-1, x.shape[-1]))
        return x if self.scale1 is None else self.scale1(x)

    def _mlp(self, inputs, _):
        # Tokens as rows of a matrix: the MLP is two plain matmuls.
        x = self.norm2(inputs)
        x = ops.reshape(x, (-1, x.shape[-1]))
        x = self.mlp_project(self.gelu(self.mlp_expand(x)))
        return x if self.scale2 is None else self.scale2(x)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "global_query": self.global_query,
            "mlp_ratio": self.mlp_ratio,
            "layer_scale": self.layer_scale,
            "drop_path_rate": self.drop_path_rate,
        }
