"""What trains faster against float64 and the layers it stands for."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from recipe import small

import gcvit_keras
from gcvit_keras.layers import GCViTBlock, WindowAttention
from gcvit_training.cpu import (
    SIZES,
    attend,
    fast_on_cpu,
    gelu,
    layer_norm,
    residual,
)
from gcvit_training.tasks.classification import Classification
from gcvit_training.tasks.classification.network import build_network
from gcvit_training.trainer import Trainer

X = np.random.default_rng(0).normal(size=(3, 5, 7, 24)) * 3
GRADIENT = np.random.default_rng(1).normal(size=X.shape)


def gradients(function, *inputs):
    """Value and gradients of a function of float32 tensors, as numpy."""
    tensors = [tf.constant(i, tf.float32) for i in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = function(*tensors)
    found = tape.gradient(y, tensors, tf.constant(GRADIENT, tf.float32))
    return [np.asarray(t) for t in (y, *found)]


def test_gelu_and_its_gradient_are_exact():
    y, dx = gradients(gelu, X)
    distribution = 0.5 * (1 + np.vectorize(math.erf)(X / math.sqrt(2)))
    density = np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(y, X * distribution, atol=2e-6)
    np.testing.assert_allclose(
        dx, GRADIENT * (distribution + X * density), atol=2e-6
    )


def test_layer_norm_and_its_gradients_are_exact():
    gamma, beta = np.random.default_rng(2).normal(size=(2, 24))
    y, dx, dgamma, dbeta = gradients(
        lambda *inputs: layer_norm(*inputs, 1e-5), X, gamma, beta
    )
    centred = X - X.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed = centred / deviation
    np.testing.assert_allclose(y, normed * gamma + beta, atol=1e-5)
    by_row = GRADIENT * gamma
    expected = by_row - by_row.mean(-1, keepdims=True)
    expected -= normed * (by_row * normed).mean(-1, keepdims=True)
    np.testing.assert_allclose(dx, expected / deviation, atol=1e-5)
    axes = (0, 1, 2)
    np.testing.assert_allclose(dgamma, (GRADIENT * normed).sum(axes), atol=5e-5)
    np.testing.assert_allclose(dbeta, GRADIENT.sum(axes), atol=5e-5)


def test_attention_and_its_gradients_are_exact():
    shape = (2, 6, 9, 4)  # heads, windows, tokens, channels of a head
    rng = np.random.default_rng(2)
    inputs = [2 * rng.normal(size=shape) for _ in "qkv"]
    inputs.append(rng.normal(size=(2, 1, 9, 9)))
    upstream = rng.normal(size=shape)

    def results(function, dtype):
        tensors = [tf.constant(i, dtype) for i in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
        return y, *tape.gradient(y, tensors, tf.constant(upstream, dtype))

    layer = WindowAttention(2, 3, dtype="float64")
    expected = results(layer.attend, "float64")
    for a, b in zip(results(attend, "float32"), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("images", [1, 4, 2 * SIZES + 3])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9999])
def test_what_drop_path_drops_is_skipped_and_changes_nothing(images, rate):
    block = GCViTBlock(2, 2, global_query=True, drop_path_rate=rate)
    x, upstream = tf.random.stateless_normal((2, images, 4, 4, 8), (0, 0))
    query = tf.random.stateless_normal((images, 2, 2, 8), (0, 1))
    block.build(x.shape, query.shape)
    seeds = [
        path.seed_generator.state
        for path in (block.drop_path1, block.drop_path2)
    ]

    def results():
        for seed, value in zip(seeds, ([3, 0], [4, 0]), strict=True):
            seed.assign(value)
        with tf.GradientTape() as tape:
            tape.watch([x, query])
            y = block(x, query, training=True)
        sources = [x, query, *block.trainable_variables]
        found = tape.gradient(
            y, sources, upstream, unconnected_gradients="zero"
        )
        return [y, *map(tf.convert_to_tensor, found)]

    expected = results()
    assert not np.allclose(expected[0], x) or rate > 0.9
    block.residual = residual
    computed = []
    mlp = block._mlp
    block._mlp = lambda x, query: computed.append(len(x)) or mlp(x, query)
    for a, b in zip(results(), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    if rate > 0.9:  # none is kept, and one part of the batch computed
        assert computed == [-(-images // SIZES)]
    if rate < 0.05:
        assert computed == [images]
    block(x, query, training=False)
    assert computed[1:] == [images]


def test_a_step_in_parts_and_recomputed_has_the_same_gradients():
    config = small(
        "model.depths=[1, 2, 1, 1]",
        "model.window_size=[4, 4, 2, 2]",
        "model.drop_path_rate=0.6",
        "optimizer.accumulate=2",
        "data.image_size=128",
        "model.recompute=true",
    )
    model = build_network(config, 3)
    trainer = Trainer(model, Classification(config, None))
    trainer.compile("sgd", auto_scale_loss=False)
    batch = tf.random.stateless_uniform((6, 128, 128, 3), (0, 0), 0, 255)
    labels = tf.one_hot([0, 1, 2, 0, 1, 2], 3)

    def results():
        return tf.function(
            lambda: trainer._accumulated((batch, labels), trainer.trained)
        )()

    plain = results()
    with fast_on_cpu(model):
        skipped = results()
    for a, b in zip(skipped, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-6)


def network(side=128):
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 1, 2, 2),
        mlp_ratio=3,
        window_size=(4, 4, 2, 2),
        layer_scale=0.5,
        input_shape=(side, side, 3),
        classes=5,
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).uniform(0, 255, (2, 128, 128, 3))


def weight_gradients(model, images):
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            scores = model(images, training=True)[:, 0]
            loss = tf.reduce_mean(tf.math.log(scores))
        return [
            tf.convert_to_tensor(g)
            for g in tape.gradient(loss, model.trainable_variables)
        ]

    return [g.numpy() for g in step()], step


def test_a_network_has_the_same_gradients_in_single_loops(images):
    model = network()
    plain, _ = weight_gradients(model, images)
    with fast_on_cpu(model):
        loops, step = weight_gradients(model, images)
    for variable, a, b in zip(
        model.trainable_variables, plain, loops, strict=True
    ):
        scale = np.abs(a).max() + 1e-6
        np.testing.assert_allclose(
            b / scale, a / scale, atol=2e-5, err_msg=variable.path
        )
    library = step.get_concrete_function().graph.as_graph_def().library
    assert any("_XlaMustCompile" in f.attr for f in library.function)


def test_what_is_left_after_it_is_keras_own(images):
    model = network()
    before = {layer.path: set(vars(layer)) for layer in model._flatten_layers()}
    with pytest.raises(RuntimeError), fast_on_cpu(model):
        raise RuntimeError
    after = {layer.path: set(vars(layer)) for layer in model._flatten_layers()}
    assert after == before


@pytest.mark.parametrize(
    "policy, side",
    [("mixed_bfloat16", 128), ("float32", 96), ("float32", None)],
)
def test_mixed_precision_small_and_sizeless_images_are_left_alone(policy, side):
    keras.config.set_dtype_policy(policy)
    try:
        model = network(side)
    finally:
        keras.config.set_dtype_policy("float32")
    block = model.get_layer("level_0_block_0")
    with fast_on_cpu(model):
        assert "gelu" not in vars(block)
        assert "call" not in vars(block.norm1)
