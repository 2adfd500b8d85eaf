"""The same computation in fewer operations, for what runs the exports.

`fused` is for TensorFlow, which replaces patterns of operations as it loads a
graph: on a CPU with oneDNN each becomes one operation, elsewhere it is
computed as it stands. `by_rows` is for LiteRT. `benchmarks/compare.py` measures
both.
"""

import contextlib
import math

import keras
import numpy as np
import tensorflow as tf

from gcvit_keras.layers import WindowAttention
from gcvit_keras.layers.composite import TURN, replaced

FUSED_EPSILON = 0.001
"""What TensorFlow 2.21 adds to the variance in the operation that replaces
LayerNorm, whatever the graph says."""

LARGEST_CONSTANT = 4 * 2**20
"""Bytes of a constant of the graph. With the windows of 24 of a detector all of
them would be ten times the weights, several times over in memory."""


@contextlib.contextmanager
def fused(network):
    """Writes a network's layers for oneDNN, for the time of a `with`.

    The variables of `network` may not change meanwhile: small ones become
    constants of the graph.
    """
    layers = network._flatten_layers()
    with TURN, replaced({layer: _fused(layer) for layer in layers}):
        yield


def _fused(layer):
    """Returns methods that replace those of a layer, by name."""
    if isinstance(layer, WindowAttention):
        bias = keras.ops.convert_to_numpy(layer.position_bias())
        if bias.nbytes > LARGEST_CONSTANT:
            return {}
        return {"position_bias": lambda: tf.constant(bias)}
    if (
        isinstance(layer, keras.layers.LayerNormalization)
        and layer.axis in (-1, [-1])
        and not (layer.gamma is None or layer.beta is None)
    ):
        return {"call": _layer_norm_call(layer)}
    return {}


def _layer_norm_call(layer):
    gamma, beta = map(keras.ops.convert_to_numpy, (layer.gamma, layer.beta))

    def call(inputs):
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
        rows = layer_norm(tf.cast(rows, tf.float32), gamma, beta, layer.epsilon)
        rows = tf.cast(rows, layer.compute_dtype)
        return tf.reshape(rows, (-1, *keras.ops.shape(inputs)[1:]))

    return call


def layer_norm(x, gamma, beta, epsilon):
    """Computes LayerNorm of `(rows, channels)`, by arrays `(channels,)`."""
    gamma, beta = tf.constant(gamma), tf.constant(beta)
    # A row times 10 with epsilon times 100 has the same LayerNorm. So this is
    # right with the operation that replaces it and without.
    x = x * math.sqrt(FUSED_EPSILON / epsilon)
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    factor = tf.math.rsqrt(variance + FUSED_EPSILON) * gamma
    return x * factor + (beta - mean * factor)


@contextlib.contextmanager
def by_rows(network):
    """Normalises pixels by rows, for the time of a `with`.

    XNNPACK is slow where the last axis has three values. `network` has a fixed
    size.
    """
    layers = filter(_normalizes_channels, network._flatten_layers())
    calls = {layer: {"call": _rows_call(layer)} for layer in layers}
    with TURN, replaced(calls):
        yield


def _normalizes_channels(layer):
    """Tells Keras's `Normalization` of the channels of images."""
    return (
        isinstance(layer, keras.layers.Normalization)
        and not layer.invert
        and tuple(layer.mean.shape[:-1]) == (1, 1, 1)
    )


def _rows_call(layer):
    """Keras's `Normalization` of images, rows of pixels at a time."""
    mean, variance = map(
        keras.ops.convert_to_numpy, (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())

    def call(images):
        _, height, width, channels = images.shape
        row = (1, 1, width, channels)
        rows = tf.reshape(images, (-1, height, width * channels))
        rows = rows - np.broadcast_to(mean, row).ravel()
        rows = rows / np.broadcast_to(deviation, row).ravel()
        return tf.reshape(rows, (-1, height, width, channels))

    return call
