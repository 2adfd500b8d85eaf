"""Single loops against float64 and against the layers they stand for."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import gcvit_keras
from training.fused import fused, gelu, layer_norm

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
    with fused(model):
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
    with pytest.raises(RuntimeError), fused(model):
        raise RuntimeError
    after = {layer.path: set(vars(layer)) for layer in model._flatten_layers()}
    assert after == before


@pytest.mark.parametrize(
    "policy, side", [("mixed_bfloat16", 128), ("float32", 96)]
)
def test_mixed_precision_and_small_images_are_left_alone(policy, side):
    keras.config.set_dtype_policy(policy)
    try:
        model = network(side)
    finally:
        keras.config.set_dtype_policy("float32")
    block = model.get_layer("level_0_block_0")
    with fused(model):
        assert "gelu" not in vars(block)
        assert "call" not in vars(block.norm1)
