"""Attention maps: what the layers computed, laid out over the image."""

import keras
import ml_dtypes
import numpy as np
import pytest
from nano import NANO

import gcvit_keras
from gcvit_keras.explain import (
    attention_maps,
    attention_rollout,
    global_query_tokens,
)
from gcvit_keras.explain.recording import watched
from gcvit_keras.models import structure

SIZES = {"whole windows": (64, 64), "padded windows": (50, 77)}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(
        **NANO, input_shape=(None, None, 3), window_size=(4, (4, 2), (2, 4), 2)
    )


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_maps_times_the_values_are_the_layers_own_output(
    model, images, size
):
    """With the values that the layers used, and numpy in float64."""
    x = images(3, *size, 3)
    layers = {k: b.attention for k, b in structure.blocks(model).items()}
    with (
        watched(layers.values(), "attend") as attended,
        watched(layers.values(), "call") as called,
    ):
        model(x, training=False)
    maps = attention_maps(model, x, batch_size=2)
    assert [(m.level, m.block) for m in maps] == list(layers)
    for found in maps:
        layer = layers[found.level, found.block]
        assert found.is_global == (found.block % 2 == 1)
        (_, _, v, _), _ = attended[layer]
        _, output = called[layer]
        (h, w), (height, width) = found.window_size, found.size
        images_, rows, columns, heads, *_ = found.weights.shape
        v = np.asarray(v, "float64").reshape(
            heads, images_, rows, columns, h * w, -1
        )
        v = np.moveaxis(v, 0, 3)
        mixed = np.moveaxis(found.weights @ v, 3, 4)
        mixed = mixed.reshape(*mixed.shape[:4], -1)
        kernel, bias = layer.proj.get_weights()
        mixed = (mixed @ kernel + bias).reshape(
            images_, rows, columns, h, w, -1
        )
        mixed = mixed.transpose(0, 1, 3, 2, 4, 5)
        mixed = mixed.reshape(images_, rows * h, columns * w, -1)
        np.testing.assert_allclose(mixed[:, :height, :width], output, atol=1e-5)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_rows_sum_to_one_and_padding_is_said(model, images, size):
    for found in attention_maps(model, images(2, *size, 3)):
        np.testing.assert_allclose(found.weights.sum(-1), 1, atol=1e-5)
        stride = 4 * 2**found.level
        assert found.size == tuple(-(-side // stride) for side in size)
        windows = np.array(found.weights.shape[1:3]) * found.window_size
        assert tuple(windows - found.size) == found.padding
    assert (found.padding == (0, 0)) == (size == (64, 64))


def test_a_query_of_a_global_block_looks_at_all_windows(model, images):
    (found,) = attention_maps(model, images(2, 64, 64, 3), level=0, block=1)
    seen = found.query_map(1, 2)
    assert seen.shape == (2, len(found.heads), 16, 16)
    for row in range(4):
        for column in range(4):
            window = seen[
                ..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4
            ]
            np.testing.assert_allclose(window.sum((2, 3)), 1, atol=1e-5)
            token = found.weights[:, row, column, :, 1 * 4 + 2]
            assert (window.reshape(token.shape) == token).all()
    queries = [found.query_map(y, x) for y in range(4) for x in range(4)]
    np.testing.assert_allclose(found.mean_map(), np.mean(queries, 0), atol=1e-6)


def test_a_place_looks_at_its_own_window(model, images):
    (found,) = attention_maps(model, images(1, 64, 64, 3), level=0, block=0)
    seen = found.position_map(6, 13)[0]
    np.testing.assert_allclose(seen.sum((1, 2)), 1, atol=1e-5)
    assert (seen[:, 4:8, 12:16] > 0).all()
    seen[:, 4:8, 12:16] = 0
    assert (seen == 0).all()
    token = found.weights[0, 1, 3, :, 2 * 4 + 1]
    inside = found.position_map(6, 13)[0, :, 4:8, 12:16]
    assert (inside.reshape(token.shape) == token).all()


def test_one_head_of_one_block(model, images):
    x = images(1, 64, 64, 3)
    whole = attention_maps(model, x, level=3, block=1)[0]
    (found,) = attention_maps(model, x, level=3, block=1, head=5)
    assert found.heads == (5,)
    assert (found.weights == whole.weights[:, :, :, 5:6]).all()
    assert [m.level for m in attention_maps(model, x, level=2)] == [2, 2]
    assert [m.level for m in attention_maps(model, x, block=1)] == [0, 1, 2, 3]


def test_the_query_tokens_are_those_that_the_blocks_got(model, images):
    x = images(3, 50, 77, 3)
    tokens = global_query_tokens(model, x, batch_size=2)
    assert list(tokens) == [0, 1, 2, 3]
    blocks = structure.blocks(model)
    with watched([b.attention for b in blocks.values()], "call") as calls:
        model(x, training=False)
    for level, found in tokens.items():
        (_, query), _ = calls[blocks[level, 1].attention]
        np.testing.assert_allclose(found, query, atol=1e-5)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_rollout_is_the_product_of_all_blocks(model, images, size):
    """By matrices over all places, in float64."""
    x = images(2, *size, 3)
    (height, width) = (-(-s // 4) for s in size)
    expected = []
    maps = attention_maps(model, x)
    for image in range(2):
        product, before = None, None
        for found in maps:
            h, w = found.size
            if before is not None and before != (h, w):
                # The coarse map is the mean of the fine one.
                pool = np.zeros((h, w, *before))
                for y in range(before[0]):
                    for z in range(before[1]):
                        pool[y // 2, z // 2, y, z] = 1
                pool /= pool.sum((2, 3), keepdims=True)
                product = pool.reshape(h * w, -1) @ product
            attention = np.zeros((h * w, h * w))
            for y in range(h):
                for z in range(w):
                    row = found.position_map(y, z)[image].mean(0)
                    attention[y * w + z] = row.ravel()
            step = (attention + np.eye(h * w)) / 2
            product = step if product is None else step @ product
            before = h, w
        total = product.sum(0).reshape(height, width)
        expected.append(total / total.sum())
    found = attention_rollout(model, x, batch_size=1)
    assert found.shape == (2, height, width)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_that_holds_one_and_half_precision(nano, images, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    base = nano(include_top=False, pooling="avg", input_shape=(64, 64, 3))
    model = keras.Sequential(
        [keras.Input((64, 64, 3)), base, keras.layers.Dense(3)]
    )
    x = images(2, 64, 64, 3)
    maps = attention_maps(model, x)
    assert len(maps) == 8
    for found in maps:
        assert found.weights.dtype == "float32"
        # A sum, an inverse and a product, which some processors round to half.
        error = 2 * float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(found.weights.sum(-1), 1, atol=error)
    assert attention_rollout(model, x).shape == (2, 16, 16)
    assert len(global_query_tokens(model, x)) == 4


def test_the_model_is_as_it_was(model, images):
    x = images(1, 64, 64, 3)
    layers = list(model._flatten_layers())
    before = [set(vars(layer)) for layer in layers]
    attention_maps(model, x)

    def fail(_):
        raise RuntimeError("stop")

    with (
        pytest.raises(RuntimeError, match="stop"),
        watched(layers[1:], "call", then=fail),
    ):
        model(x)
    assert [set(vars(layer)) for layer in layers] == before


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"level": 4}, r"`level` must be.*\[0, 1, 2, 3\].*level=4"),
        ({"block": 2}, r"`block` must be.*\[0, 1\].*block=2"),
        ({"level": 0, "head": 1}, r"`head` must be.*\[0\].*head=1"),
        ({"batch_size": 0}, "`batch_size` must be.*batch_size=0"),
        ({"images": np.zeros((64, 64, 3))}, r"`images`.*\(64, 64, 3\)"),
        ({"images": np.zeros((1, 64, 64, 1))}, r"`images`.*\(1, 64, 64, 1\)"),
        ({"images": [["a"]]}, "`images` must be numbers"),
        ({"images": [[1, 2], [3]]}, "`images` must be an array.*list"),
        ({"level": [1]}, r"`level` must be.*level=\[1\]"),
        ({"level": True}, "`level` must be.*level=True"),
        ({"level": 1.0}, "`level` must be.*level=1.0"),
        ({"block": np.array([0, 1])}, r"`block` must be.*array\(\[0, 1\]\)"),
        ({"head": np.array([0, 1])}, "`head` must be.*array"),
        ({"head": False}, "`head` must be.*head=False"),
        ({"head": 4}, r"`head`.*level 0 has 1, level 1 has 2.*head=4"),
        ({"batch_size": True}, "`batch_size` must be.*True"),
    ],
)
def test_wrong_arguments_are_refused(model, images, arguments, words):
    arguments = {"images": images(1, 64, 64, 3), **arguments}
    with pytest.raises(ValueError, match=words):
        attention_maps(model, **arguments)


def test_places_that_are_not_there_are_refused(model, images):
    (found,) = attention_maps(model, images(1, 64, 64, 3), level=0, block=1)
    with pytest.raises(ValueError, match="`y` must be.*0 to 3.*y=4"):
        found.query_map(4, 0)
    with pytest.raises(ValueError, match="`x` must be.*0 to 15.*x=16"):
        found.position_map(0, 16)
    with pytest.raises(ValueError, match="`y` must be.*y=True"):
        found.query_map(True, 0)


def test_what_holds_no_gc_vit_or_two_is_refused(nano, images):
    plain = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="must be a GC ViT.*holds none"):
        attention_maps(plain, images(1, 64, 64, 3))
    x = keras.Input((64, 64, 3))
    ends = [nano(input_shape=(64, 64, 3), name=f"m{k}")(x) for k in range(2)]
    double = keras.Model(x, keras.layers.Average()(ends))
    with pytest.raises(
        ValueError, match="must hold one GC ViT.*several layers"
    ):
        attention_maps(double, images(1, 64, 64, 3))
