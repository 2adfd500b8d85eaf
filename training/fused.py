"""GELU and LayerNorm as single loops, for training on a CPU.

TensorFlow computes a formula one operation at a time, each from memory to
memory, and keeps what every operation's gradient needs. Here XLA compiles
formula and gradient to one loop each, and only their inputs are kept. Not
the whole step: XLA's convolutions and batched matrix products are slower on a
CPU than TensorFlow's. `benchmarks/train.py` measures the step.
"""

import contextlib
import math

import keras
import tensorflow as tf

from gcvit_keras.layers.composite import CompositeLayer

LEAST_SIDE = 128
"""Of images for which compiling, some seconds, is worth it."""


def _compiled(function):
    return tf.function(function, jit_compile=True, autograph=False)


@contextlib.contextmanager
def fused(network):
    """Computes the GELUs and LayerNorms of a network as single loops.

    Does so inside the `with` only, so that what is saved or exported after it
    has TensorFlow's own operations. Does nothing where there is a GPU or TPU,
    in mixed precision, and for images smaller than `LEAST_SIDE`.

    Args:
        network: A GC ViT.
    """
    devices = {d.device_type for d in tf.config.list_logical_devices()}
    layers = []
    if (
        devices <= {"CPU", "XLA_CPU"}
        and network.compute_dtype == "float32"
        and min(s or LEAST_SIDE for s in network.input_shape[1:3]) >= LEAST_SIDE
    ):
        layers = list(network._flatten_layers())
    changed = []
    for layer in layers:
        if isinstance(layer, CompositeLayer):
            layer.gelu = gelu
            changed.append((layer, "gelu"))
        elif isinstance(layer, keras.layers.LayerNormalization):
            layer.call = _layer_norm_call(layer)
            changed.append((layer, "call"))
    try:
        yield
    finally:
        for layer, name in changed:
            delattr(layer, name)


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
    return 0.5 * tf.math.erfc(-x / math.sqrt(2))


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
