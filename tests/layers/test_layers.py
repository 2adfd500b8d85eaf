"""Each layer against plain numpy in float64."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcvit_keras.cubic import cubic_matrix
from gcvit_keras.layers import (
    DropPath,
    FusedMBConv,
    GCViTBlock,
    GlobalQueryGenerator,
    LayerNorm,
    SqueezeExcite,
    WindowAttention,
)
from gcvit_keras.layers.window import (
    merge_windows,
    pad_to_windows,
    partition_windows,
    relative_position_index,
)


@pytest.fixture(autouse=True)
def _float64():
    keras.config.set_dtype_policy("float64")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def close(actual, expected):
    # Not 1e-12: tf.nn.gelu rounds 1 / sqrt(2) to float32 in any precision.
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-7)


def test_windows_are_cut_row_by_row_and_merged_back():
    x = np.arange(2 * 4 * 6 * 3 * 2.0).reshape(2, 4, 6, 6)
    windows = np.asarray(partition_windows(x, (2, 2), 3))
    assert windows.shape == (3, 12, 4, 2)
    for image, row, column, head in np.ndindex(2, 2, 3, 3):
        window = windows[head, image * 6 + row * 3 + column]
        expected = x[image, 2 * row :, 2 * column :, 2 * head :][:2, :2, :2]
        close(window, expected.reshape(4, 2))
    close(merge_windows(windows, (2, 2), 4, 6), x)


def test_padding_adds_zeros_right_and_below_only():
    x = normal(1, 3, 5, 2)
    padded = np.asarray(pad_to_windows(x, (4, 3)))
    assert padded.shape == (1, 4, 6, 2)
    close(padded[:, :3, :5], x)
    assert padded[:, 3:].any() == padded[:, :, 5:].any() == 0
    assert pad_to_windows(padded, (4, 3)) is padded


@pytest.mark.parametrize("h, w", [(1, 1), (2, 2), (2, 3), (7, 4)])
def test_relative_position_index_is_the_offset_of_query_to_key(h, w):
    index = relative_position_index((h, w))
    for query in range(h * w):
        for key in range(h * w):
            dy = query // w - key // w
            dx = query % w - key % w
            row = (dy + h - 1) * (2 * w - 1) + dx + w - 1
            assert index[query, key] == row


@pytest.mark.parametrize("source, target", [(7, 7), (4, 7), (28, 7), (1, 3)])
def test_cubic_matrix_is_keys_convolution_with_a_075(source, target):
    matrix = cubic_matrix(source, target)
    expected = np.zeros((target, source))
    for o in range(target):
        position = (o + 0.5) * source / target - 0.5
        for tap in range(math.floor(position) - 1, math.floor(position) + 3):
            t = abs(position - tap)
            if t <= 1:
                weight = 1.25 * t**3 - 2.25 * t**2 + 1
            else:
                weight = -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            expected[o, min(max(tap, 0), source - 1)] += weight
    np.testing.assert_allclose(matrix, expected, atol=1e-14)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-14)
    if source == target:
        assert (matrix == np.eye(source)).all()


@pytest.mark.parametrize(
    "channels, divisor, squeezed",
    [
        (16, 1, 4),
        (16, 8, 8),
        (64, 8, 16),
        (96, 8, 24),
        (96, 1, 24),
    ],
)
def test_squeeze_excite(channels, divisor, squeezed):
    layer = SqueezeExcite(divisor)
    x = normal(2, 3, 5, channels)
    y = np.asarray(layer(x))
    w1, w2 = (np.asarray(w) for w in layer.weights)
    assert w1.shape == (channels, squeezed)
    gate = gelu(x.mean((1, 2)) @ w1) @ w2
    close(y, x / (1 + np.exp(-gate))[:, None, None])


def test_fused_mbconv():
    layer = FusedMBConv()
    x = normal(2, 5, 4, 8)
    y = np.asarray(layer(x))
    depthwise, w1, w2, pointwise = (np.asarray(w) for w in layer.weights)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h = sum(
        padded[:, i : i + 5, j : j + 4] * depthwise[i, j, :, 0]
        for i in range(3)
        for j in range(3)
    )
    h = gelu(h)
    h = h / (1 + np.exp(-(gelu(h.mean((1, 2)) @ w1) @ w2)))[:, None, None]
    close(y, x + h @ pointwise[0, 0])


def test_max_pool_of_the_query_pads_with_minus_infinity():
    """Negative maps: a zero pad would win at every border."""
    layer = GlobalQueryGenerator(2, 1)
    x = -10 - normal(1, 4, 4, 4) ** 2
    query = np.asarray(layer(x))
    h = np.asarray(layer.blocks[0](x))
    h = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    for i in range(2):
        for j in range(2):
            window = h[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            close(query[:, i, j], window.max((1, 2)))


def attention_in_numpy(layer, x, query=None):
    """One image after the other, one window after the other."""
    (h, w), heads = layer.window_size, layer.num_heads
    batch, height, width, channels = x.shape
    x = np.pad(x, ((0, 0), (0, -height % h), (0, -width % w), (0, 0)))
    kernel, bias = (np.asarray(v) for v in layer.qkv.weights)
    proj, proj_bias = (np.asarray(v) for v in layer.proj.weights)
    table = np.asarray(layer.relative_position_bias_table)
    # A grid of offsets: query minus key, by row and by column.
    table = table.reshape(2 * h - 1, 2 * w - 1, heads)
    y, x_ = (grid.ravel() for grid in np.mgrid[:h, :w])
    position = table[
        y[:, None] - y[None, :] + h - 1, x_[:, None] - x_[None, :] + w - 1
    ]
    result = np.zeros_like(x)
    c = channels // heads
    count = kernel.shape[1] // channels
    for b in range(batch):
        for i in range(0, x.shape[1], h):
            for j in range(0, x.shape[2], w):
                tokens = x[b, i : i + h, j : j + w].reshape(h * w, channels)
                parts = np.split(tokens @ kernel + bias, count, -1)
                if query is not None:
                    parts.insert(0, query[b].reshape(h * w, channels))
                out = []
                for n in range(heads):
                    q, k, v = (p[:, n * c : (n + 1) * c] for p in parts)
                    logits = q @ k.T / math.sqrt(c) + position[:, :, n]
                    weights = np.exp(logits - logits.max(-1, keepdims=True))
                    out.append(weights / weights.sum(-1, keepdims=True) @ v)
                out = np.concatenate(out, -1) @ proj + proj_bias
                result[b, i : i + h, j : j + w] = out.reshape(h, w, channels)
    return result[:, :height, :width]


@pytest.mark.parametrize("window", [3, (3, 3), (3, 2), (2, 5)])
@pytest.mark.parametrize("height, width", [(6, 9), (5, 7)])
@pytest.mark.parametrize("is_global", [False, True])
def test_window_attention(is_global, height, width, window):
    layer = WindowAttention(2, window, is_global)
    x = normal(3, height, width, 8)
    query = None
    if is_global:
        query = normal(3, *np.broadcast_to(window, 2), 8, seed=1)
    layer(x, query)
    for i, variable in enumerate(layer.weights):
        variable.assign(normal(*variable.shape, seed=i))
    close(layer(x, query), attention_in_numpy(layer, x, query))


@pytest.mark.parametrize("layer", [WindowAttention, GCViTBlock])
@pytest.mark.parametrize("window", [0, 2.5, "7", (7,), (7, 7, 7), (7, True)])
def test_a_window_is_one_side_or_two(layer, window):
    with pytest.raises(ValueError, match="`window_size` must be.*Received"):
        layer(2, window)


def test_the_gradient_of_a_position_table_is_dense():
    """`tf.IndexedSlices` of replicas cannot be added up by XLA."""
    layer = WindowAttention(2, (2, 3))
    layer.build((None, 2, 3, 4))
    table = layer.relative_position_bias_table
    weights = normal(2, 1, 6, 6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.position_bias() * weights)
    gradient = tape.gradient(loss, table.value)
    assert isinstance(gradient, tf.Tensor)
    expected = np.zeros(table.shape)
    for head, query, key in np.ndindex(2, 6, 6):
        row = relative_position_index((2, 3))[query, key]
        expected[row, head] += weights[head, 0, query, key]
    close(gradient, expected)


def test_window_attention_needs_heads_that_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads=3"):
        WindowAttention(3, 2).build((None, 4, 4, 8))


@pytest.mark.parametrize("deviation", [1e-3, 1, 1e3])
def test_layer_norm(deviation):
    x = normal(2, 3, 5, 8) * deviation + 7
    layer = LayerNorm(dtype="float64")
    layer(x)
    gamma, beta = normal(2, 8, seed=1)
    layer.set_weights([gamma, beta])
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    close(layer(x), centred / np.sqrt(variance + 1e-5) * gamma + beta)


def test_layer_norm_is_over_the_channels_only():
    with pytest.raises(ValueError, match="axis=1"):
        LayerNorm(axis=1).build((None, 4, 4, 8))


def test_layer_norm_does_not_cancel_where_the_mean_is_large():
    x = normal(1, 2, 2, 64) + 1e4
    layer = LayerNorm(dtype="float32")
    x = x.astype("float32")
    exact = x.astype("float64")
    expected = exact - exact.mean(-1, keepdims=True)
    expected /= np.sqrt((expected**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(x), expected, atol=2e-3)
    of_keras = keras.layers.LayerNormalization(epsilon=1e-5, dtype="float32")
    ours, theirs = (np.abs(f(x) - expected).max() for f in (layer, of_keras))
    assert ours < theirs


def test_layer_norm_computes_half_precision_in_float32():
    x = (normal(2, 2, 2, 8) * 300).astype("float16")
    found = LayerNorm(dtype="mixed_float16")(x)
    assert found.dtype == "float16"
    exact = np.asarray(LayerNorm(dtype="float64")(x.astype("float64")))
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


def test_drop_path_drops_whole_images_and_rescales_the_rest():
    x = np.ones((1000, 2, 2, 3))
    y = np.asarray(DropPath(0.25, seed=0)(x, training=True))
    kept = y.max((1, 2, 3))
    close(y.min((1, 2, 3)), kept)
    assert sorted(set(kept.round(9))) == [0, round(4 / 3, 9)]
    assert 0.70 < (kept > 0).mean() < 0.80
    close(DropPath(0.25)(x, training=False), x)


def test_layers_of_one_shape_start_from_different_values():
    first, second = WindowAttention(1, 2), WindowAttention(1, 2)
    for layer in (first, second):
        layer.build((None, 4, 4, 8))
    assert (np.asarray(first.qkv.kernel) != second.qkv.kernel).all()
