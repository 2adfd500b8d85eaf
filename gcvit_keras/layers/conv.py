"""Convolutional parts: squeeze-excite, FusedMBConv, Downsample and Stem.

Paper section 3.3 ("Downsampling") and figure 3.
"""

import keras
from keras import ops

from gcvit_keras.layers.composite import CompositeLayer
from gcvit_keras.layers.norm import LayerNorm


def pad_one(x):
    """Pads one zero on each side, as PyTorch's `padding=1` does.

    TensorFlow's "same" puts the odd pixel right and below at stride 2, which
    shifts the kernel against the reference.
    """
    return ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def repeat_edges(x):
    """Pads one pixel on each side with the one beside it."""
    # Not `ops.pad(mode="symmetric")`, which is slow in LiteRT.
    x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
    return ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)


def halved(size):
    """Halves the size of an axis, rounding up, as stride 2 with padding 1."""
    return None if size is None else (size + 1) // 2


def conv_initializer():
    """Makes PyTorch's initial values: uniform within fan_in ** -0.5."""
    return keras.initializers.VarianceScaling(
        scale=1 / 3, mode="fan_in", distribution="uniform"
    )


@keras.saving.register_keras_serializable("gcvit_keras")
class SqueezeExcite(CompositeLayer):
    """Channel attention: `x * sigmoid(W2 GELU(W1 mean(x)))`, no biases.

    Args:
        divisor: The squeezed width is a quarter of the channels, rounded
            half up to a multiple of this and at least this. 8 for timm; 1,
            which rounds down, for the official code. They agree on every
            published variant.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.

    Returns:
        Tensor of the same shape.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import SqueezeExcite
    >>> x = keras.ops.ones((2, 7, 7, 16))
    >>> tuple(SqueezeExcite()(x).shape)
    (2, 7, 7, 16)
    """

    def __init__(self, divisor=1, **kwargs):
        super().__init__(**kwargs)
        self.divisor = divisor

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        # int(x + d / 2) // d * d is timm's rounding; with d = 1 the official
        # code's int(x).
        squeezed = max(
            self.divisor,
            int(channels / 4 + self.divisor // 2)
            // self.divisor
            * self.divisor,
        )
        self.reduce = self.dense(squeezed, "reduce", use_bias=False)
        self.expand = self.dense(channels, "expand", use_bias=False)
        self.reduce.build((None, channels))
        self.expand.build((None, squeezed))

    def call(self, inputs):
        x = ops.mean(inputs, axis=(1, 2))
        x = ops.sigmoid(self.expand(self.gelu(self.reduce(x))))
        return inputs * ops.reshape(x, (-1, 1, 1, x.shape[-1]))

    def get_config(self):
        return {**super().get_config(), "divisor": self.divisor}


@keras.saving.register_keras_serializable("gcvit_keras")
class FusedMBConv(CompositeLayer):
    """`x + conv1x1(SE(GELU(depthwise3x3(x))))`, convolutions without bias.

    Args:
        se_divisor: See `SqueezeExcite`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.

    Returns:
        Tensor of the same shape.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import FusedMBConv
    >>> x = keras.ops.ones((2, 7, 7, 16))
    >>> tuple(FusedMBConv()(x).shape)
    (2, 7, 7, 16)
    """

    def __init__(self, se_divisor=1, **kwargs):
        super().__init__(**kwargs)
        self.se_divisor = se_divisor

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        self.depthwise = keras.layers.DepthwiseConv2D(
            3,
            padding="same",  # at stride 1 the same as one pixel per side
            use_bias=False,
            # Nine inputs per output; Keras would count them times channels.
            depthwise_initializer=keras.initializers.RandomUniform(
                -1 / 3, 1 / 3
            ),
            dtype=self.dtype_policy,
            name="depthwise",
        )
        self.squeeze_excite = SqueezeExcite(
            self.se_divisor, dtype=self.dtype_policy, name="squeeze_excite"
        )
        self.pointwise = keras.layers.Conv2D(
            channels,
            1,
            use_bias=False,
            kernel_initializer=conv_initializer(),
            dtype=self.dtype_policy,
            name="pointwise",
        )
        self.depthwise.build(inputs_shape)
        self.squeeze_excite.build(inputs_shape)
        self.pointwise.build(inputs_shape)

    def call(self, inputs):
        x = self.gelu(self.depthwise(inputs))
        return inputs + self.pointwise(self.squeeze_excite(x))

    def get_config(self):
        return {**super().get_config(), "se_divisor": self.se_divisor}


@keras.saving.register_keras_serializable("gcvit_keras")
class Downsample(CompositeLayer):
    """LayerNorm, FusedMBConv, 3x3 convolution at stride 2, LayerNorm.

    Args:
        filters: Channels of the result.
        se_divisor: See `SqueezeExcite`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.

    Returns:
        Tensor `(batch, ceil(height / 2), ceil(width / 2), filters)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import Downsample
    >>> x = keras.ops.ones((2, 7, 9, 16))
    >>> tuple(Downsample(32)(x).shape)
    (2, 4, 5, 32)
    """

    def __init__(self, filters, se_divisor=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.se_divisor = se_divisor

    def build(self, inputs_shape):
        self.norm1 = LayerNorm(dtype=self.dtype_policy, name="norm1")
        self.fused_mbconv = FusedMBConv(
            self.se_divisor, dtype=self.dtype_policy, name="fused_mbconv"
        )
        self.reduction = keras.layers.Conv2D(
            self.filters,
            3,
            strides=2,
            use_bias=False,
            kernel_initializer=conv_initializer(),
            dtype=self.dtype_policy,
            name="reduction",
        )
        self.norm2 = LayerNorm(dtype=self.dtype_policy, name="norm2")
        self.norm1.build(inputs_shape)
        self.fused_mbconv.build(inputs_shape)
        self.reduction.build((None, None, None, inputs_shape[-1]))
        self.norm2.build(self.compute_output_shape(inputs_shape))

    def call(self, inputs):
        x = self.fused_mbconv(self.norm1(inputs))
        return self.norm2(self.reduction(pad_one(x)))

    def compute_output_shape(self, inputs_shape):
        batch, height, width, _ = inputs_shape
        return (batch, halved(height), halved(width), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "se_divisor": self.se_divisor,
        }


@keras.saving.register_keras_serializable("gcvit_keras")
class Stem(CompositeLayer):
    """Overlapping patches: 3x3 convolution at stride 2, then Downsample.

    Args:
        filters: Channels of the result, the model's embedding width.
        se_divisor: See `SqueezeExcite`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`, a normalised image.

    Returns:
        Tensor `(batch, ceil(height / 4), ceil(width / 4), filters)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.layers import Stem
    >>> x = keras.ops.ones((2, 224, 160, 3))
    >>> tuple(Stem(16)(x).shape)
    (2, 56, 40, 16)
    """

    def __init__(self, filters, se_divisor=1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.se_divisor = se_divisor

    def build(self, inputs_shape):
        batch, height, width, channels = inputs_shape
        self.conv = keras.layers.Conv2D(
            self.filters,
            3,
            strides=2,
            kernel_initializer=conv_initializer(),
            dtype=self.dtype_policy,
            name="conv",
        )
        self.downsample = Downsample(
            self.filters,
            self.se_divisor,
            dtype=self.dtype_policy,
            name="downsample",
        )
        self.conv.build((None, None, None, channels))
        self.downsample.build(
            (batch, halved(height), halved(width), self.filters)
        )

    def call(self, inputs):
        return self.downsample(self.conv(pad_one(inputs)))

    def compute_output_shape(self, inputs_shape):
        batch, height, width, _ = inputs_shape
        return (
            batch,
            halved(halved(height)),
            halved(halved(width)),
            self.filters,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "se_divisor": self.se_divisor,
        }
