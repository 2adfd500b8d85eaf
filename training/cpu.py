"""Training on a CPU, faster: single loops, and no work that is dropped.

TensorFlow computes a formula one operation at a time, each from memory to
memory, and keeps what every operation's gradient needs. Here XLA compiles
formula and gradient to one loop each, and only their inputs are kept. Not
the whole step: XLA's convolutions and batched matrix products are slower on a
CPU than TensorFlow's. And a block's branches are computed for those images
only that drop path keeps. `benchmarks/train.py` measures the step.
"""

import contextlib
import math

import keras
import tensorflow as tf

from gcvit_keras.layers import GCViTBlock, WindowAttention
from gcvit_keras.layers.composite import CompositeLayer, replaced

LEAST_SIDE = 128
"""Shorter side of the smallest images for which compiling, which takes
seconds, is worth it."""

LEAST_RATE = 0.05
"""Rate of drop path below which so few images are dropped that it is not worth
compiling for their number."""

SIZES = 8
"""Most numbers of images that a branch is compiled for."""


def _compiled(function):
    return tf.function(function, jit_compile=True, autograph=False)


@contextlib.contextmanager
def fast_on_cpu(network):
    """Trains a network faster on a CPU, with the same results but rounding.

    Does so inside the `with` only, so that what is saved or exported after it
    has TensorFlow's own operations. Does nothing where there is a GPU or TPU,
    in mixed precision, for images smaller than `LEAST_SIDE`, and for a network
    of images of many sizes, for each of which XLA would compile anew.

    Args:
        network: A GC ViT.
    """
    shape = getattr(network, "input_shape", None)
    devices = {d.device_type for d in tf.config.list_logical_devices()}
    layers = []
    if (
        devices <= {"CPU", "XLA_CPU"}
        and network.compute_dtype == "float32"
        and shape is not None
        and min(side or 0 for side in shape[1:3]) >= LEAST_SIDE
    ):
        layers = network._flatten_layers()
    with replaced({layer: _methods(layer) for layer in layers}):
        yield


def _methods(layer):
    """Methods that replace those of a layer, by name."""
    methods = {}
    if isinstance(layer, CompositeLayer):
        methods["gelu"] = gelu
    if isinstance(layer, GCViTBlock):
        methods["residual"] = residual
    if isinstance(layer, WindowAttention):
        methods["attend"] = attend
    if isinstance(layer, keras.layers.LayerNormalization):
        methods["call"] = _layer_norm_call(layer)
    return methods


def residual(branch, drop_path, training, inputs, query=None):
    """`GCViTBlock.residual`, without computing what drop path drops.

    In a batch of more than `SIZES` images the branch is computed for a few of
    those dropped, too, since every number of images is compiled anew.
    """
    shape = (-1, *keras.ops.shape(inputs)[1:])
    if not training or drop_path.rate < LEAST_RATE:
        x = tf.reshape(branch(inputs, query), shape)
        return inputs + drop_path(x, training=training)
    images = tf.shape(inputs)[0]
    kept = tf.cast(drop_path.draw(images), tf.int32)
    unit = -(-images // SIZES)
    computed = unit * tf.maximum(1, -(-tf.reduce_sum(kept) // unit))
    # The images kept, in order, then those dropped.
    _, rows = tf.math.top_k(kept, tf.minimum(computed, images))
    # Where an image kept is in `rows`.
    places = tf.maximum(tf.cumsum(kept) - 1, 0)
    kept = tf.cast(kept, inputs.dtype)
    inputs, x = _with_rows(inputs, rows, places, kept)
    x = branch(x, None if query is None else tf.gather(query, rows))
    x = tf.reshape(x, shape)
    return _add_rows(inputs, x, rows, places, kept * drop_path.scale)


@tf.custom_gradient
def _with_rows(x, rows, places, kept):
    """A tensor and rows of it, whose gradients are added in one pass."""

    def gradient(of_x, of_rows):
        return _add(of_x, of_rows, places, kept), None, None, None

    return (x, tf.gather(x, rows)), gradient


@tf.custom_gradient
def _add_rows(x, y, rows, places, factors):
    """Adds to each image its row of `y`, found at `places`, times a factor."""

    def gradient(of_sum):
        of_y = _multiplied_rows(of_sum, rows, factors)
        return of_sum, of_y, None, None, None

    return _add(x, y, places, factors), gradient


@_compiled
def _add(x, y, places, factors):
    return x + tf.gather(y, places) * factors[:, None, None, None]


@_compiled
def _multiplied_rows(x, rows, factors):
    factors = tf.gather(factors, rows)
    return tf.gather(x, rows) * factors[:, None, None, None]


@tf.custom_gradient
def attend(q, k, v, bias):
    """`WindowAttention.attend` of float32 tensors."""
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) + bias)
    x = tf.matmul(weights, v)

    def gradient(of_x):
        of_logits, of_bias = _softmax_gradient(
            weights, tf.matmul(of_x, v, transpose_b=True), x, of_x
        )
        return (
            tf.matmul(of_logits, k),
            tf.matmul(of_logits, q, transpose_a=True),
            tf.matmul(weights, of_x, transpose_a=True),
            of_bias,
        )

    return x, gradient


@_compiled
def _softmax_gradient(weights, of_weights, x, of_x):
    # Softmax's sum of `weights * of_weights` over all keys is that of
    # `x * of_x` over the channels, which are fewer (arXiv 2205.14135).
    sums = tf.reduce_sum(x * of_x, axis=-1, keepdims=True)
    of_logits = weights * (of_weights - sums)
    return of_logits, tf.reduce_sum(of_logits, axis=1, keepdims=True)


@tf.custom_gradient
def gelu(x):
    """Exact GELU of a float32 tensor."""
    return _gelu(x), lambda gradient: _gelu_gradient(x, gradient)


@_compiled
def _gelu(x):
    return x * _normal_distribution(x)


@_compiled
def _gelu_gradient(x, gradient):
    density = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return gradient * (_normal_distribution(x) + x * density)


def _normal_distribution(x):
    return 0.5 + 0.5 * tf.math.erf(x / math.sqrt(2))


def _layer_norm_call(layer):
    def call(inputs):
        return layer_norm(
            inputs,
            tf.convert_to_tensor(layer.gamma),
            tf.convert_to_tensor(layer.beta),
            layer.epsilon,
        )

    return call


def layer_norm(x, gamma, beta, epsilon):
    """LayerNorm over the last axis of a float32 tensor.

    Args:
        x: Tensor `(..., channels)`.
        gamma: Tensor `(channels,)`.
        beta: Tensor `(channels,)`.
        epsilon: Added to the variance.

    Returns:
        Tensor like `x`.
    """

    @tf.custom_gradient
    def normalise(x, gamma, beta):
        y, mean, factor = _layer_norm(x, gamma, beta, epsilon)
        return y, lambda gradient: _layer_norm_gradient(
            x, gamma, mean, factor, gradient
        )

    return normalise(x, gamma, beta)


# Means over a row are matrix products, which XLA does faster than reductions.


@_compiled
def _layer_norm(x, gamma, beta, epsilon):
    rows = tf.reshape(x, (-1, x.shape[-1]))
    average = tf.fill((x.shape[-1], 1), 1 / x.shape[-1])
    mean = rows @ average
    centred = rows - mean
    factor = tf.math.rsqrt(centred * centred @ average + epsilon)
    y = centred * factor * gamma + beta
    return tf.reshape(y, tf.shape(x)), mean, factor


@_compiled
def _layer_norm_gradient(x, gamma, mean, factor, gradient):
    rows = tf.reshape(x, (-1, x.shape[-1]))
    normed = (rows - mean) * factor
    by_row = tf.reshape(gradient, tf.shape(rows))
    product = by_row * normed
    average = gamma[:, None] / x.shape[-1]
    dx = factor * (
        by_row * gamma - by_row @ average - normed * (product @ average)
    )
    return (
        tf.reshape(dx, tf.shape(x)),
        tf.reduce_sum(product, axis=0),
        tf.reduce_sum(by_row, axis=0),
    )
