"""Class activation maps, against their formulas in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from nano import NANO, SMALL

import gcvit_keras
from gcvit_keras.explain import grad_cam
from gcvit_keras.explain.cam import METHODS, enlarged


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**NANO, input_shape=(96, 128, 3))


def last_map(model, x):
    """The last block's output, and what the head makes of it by hand."""
    block = model.get_layer("level_3_block_1")
    value = keras.Model(model.input, block.output)(x)
    return np.asarray(value, "float64")


def logit_gradient(model, value, classes):
    """Of norm, mean and dense layer, by their derivatives."""
    gamma, _ = (
        np.asarray(w, "float64") for w in model.get_layer("norm").weights
    )
    kernel = np.asarray(model.get_layer("predictions").kernel, "float64")
    places = value.shape[1] * value.shape[2]
    mean = value.mean(-1, keepdims=True)
    deviation = np.sqrt(value.var(-1, keepdims=True) + 1e-5)
    unit = (value - mean) / deviation
    above = gamma * kernel[:, classes].T[:, None, None] / places
    above = np.broadcast_to(above, value.shape)
    inner = (above * unit).mean(-1, keepdims=True)
    return (above - above.mean(-1, keepdims=True) - unit * inner) / deviation


def by_hand(method, value, gradient):
    """Each formula as its paper has it, a place at a time."""
    maps = np.zeros(value.shape[:3])
    for n in range(len(value)):
        a, g = value[n], gradient[n]
        if method == "layercam":
            maps[n] = (np.maximum(g, 0) * a).sum(-1)
            continue
        for k in range(a.shape[-1]):
            if method == "gradcam":
                weight = g[..., k].sum() / g[..., k].size
            else:
                weight = 0
                for y, x in np.ndindex(a.shape[:2]):
                    d = g[y, x, k]
                    below = 2 * d**2 + a[..., k].sum() * d**3
                    weight += d**2 / below * max(d, 0)
            maps[n] += weight * a[..., k]
    return np.maximum(maps, 0)


def bilinear(maps, size):
    """With half-pixel centres, by numpy's own interpolation."""
    for axis, side in ((1, size[0]), (2, size[1])):
        source = maps.shape[axis]
        at = (np.arange(side) + 0.5) * source / side - 0.5
        maps = np.apply_along_axis(
            lambda line, at=at: np.interp(at, np.arange(len(line)), line),
            axis,
            maps,
        )
    return maps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [None, 3, [1, 0, 9]])
def test_maps_are_what_the_formulas_say(model, images, method, classes):
    x = images(3, 96, 128, 3)
    found = grad_cam(model, x, classes, method=method, batch_size=2)
    if classes is None:
        wanted = np.asarray(model(x)).argmax(-1)
    else:
        wanted = np.broadcast_to(classes, 3)
    value = last_map(model, x)
    expected = by_hand(method, value, logit_gradient(model, value, wanted))
    expected = bilinear(expected, (96, 128))
    expected /= expected.max((1, 2), keepdims=True)
    assert found.shape == (3, 96, 128) and found.dtype == "float32"
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert (found.max((1, 2)) == 1).all()


def test_the_gradient_of_an_early_layer_goes_through_all_above(model, images):
    x = images(2, 96, 128, 3)
    block = model.get_layer("level_1_block_1")
    lower = keras.Model(model.input, block.output)
    upper = keras.Model(block.output, model.get_layer("pool").output)
    head = model.get_layer("predictions")
    value = lower(x)
    with tf.GradientTape() as tape:
        tape.watch(value)
        logits = tf.matmul(upper(value), head.kernel) + head.bias
        score = tf.reduce_sum(logits[:, 4])
    gradient = np.asarray(tape.gradient(score, value), "float64")
    expected = by_hand("layercam", np.asarray(value, "float64"), gradient)
    expected = bilinear(expected, (96, 128))
    expected /= expected.max((1, 2), keepdims=True)
    for layer in ("level_1_block_1", block):
        found = grad_cam(model, x, 4, layer, "layercam")
        np.testing.assert_allclose(found, expected, atol=2e-4)


def ends(kind):
    """Models of the same logits that end in different ways."""
    keras.utils.set_random_seed(0)
    base = gcvit_keras.GCViT(**SMALL, include_top=False, pooling="avg")
    x = keras.Input((64, 64, 3))
    logits = layers.Dense(3, name="head", kernel_initializer="ones")
    tail = {
        "logits": [logits],
        "softmax layer": [logits, layers.Softmax()],
        "activation": [logits, layers.Activation("softmax"), layers.Dropout(0)],
        "operation": [logits, keras.ops.softmax],
        "softmax": [layers.Dense(3, "softmax", name="head")],
    }[kind]
    scores = base(x)
    for layer in tail:
        scores = layer(scores)
    model = keras.Model(x, scores)
    rng = np.random.default_rng(1)
    model.set_weights(
        [rng.normal(0, 0.3, w.shape) for w in model.get_weights()]
    )
    return model


@pytest.mark.parametrize(
    "kind", ["softmax layer", "activation", "operation", "softmax"]
)
def test_it_is_the_logit_that_is_explained(images, kind):
    x = images(2, 64, 64, 3)
    expected = grad_cam(ends("logits"), x, 1)
    np.testing.assert_allclose(grad_cam(ends(kind), x, 1), expected, atol=1e-4)
    assert expected.max() == 1


def test_what_is_sure_is_explained_too(model, images):
    """Where the softmax has saturated, and has no gradient."""
    x = images(1, 96, 128, 3)
    sure = keras.models.clone_model(model)
    sure.set_weights(model.get_weights())
    head = sure.get_layer("predictions")
    bias = np.zeros(10)
    bias[2] = 200
    head.bias.assign(bias)
    assert sure(x)[0, 2] == 1
    np.testing.assert_allclose(
        grad_cam(sure, x), grad_cam(model, x, 2), atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_nearly_the_same(nano, images, policy):
    whole = nano(**SMALL)
    keras.config.set_dtype_policy(policy)
    half = nano(**SMALL)
    half.set_weights(whole.get_weights())
    x = images(2, 64, 64, 3)
    found, expected = (
        grad_cam(m, x, 5, method="layercam") for m in (half, whole)
    )
    assert found.dtype == "float32"
    for one, other in zip(found, expected, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


@pytest.fixture(scope="module")
def sizeless():
    return gcvit_keras.GCViT(**NANO, input_shape=(None, None, 3))


@pytest.mark.parametrize("size", [(50, 77), (33, 32), (1, 1), (223, 97)])
def test_any_size(sizeless, images, size):
    found = grad_cam(sizeless, images(1, *size, 3))
    assert found.shape == (1, *size)
    assert found.min() >= 0 and found.max() in (0, 1)


def test_places_lie_over_what_they_were_made_of():
    # 33 pixels at stride 32: two places, the second of one pixel.
    maps = np.zeros((1, 2, 1), "float32")
    maps[0, 1] = 1
    large = enlarged(maps, (33, 20))
    assert large.shape == (1, 33, 20)
    assert (large[0, :16] == 0).all() and 0.4 < large[0, 32, 0] < 0.6


def test_nothing_that_speaks_for_a_class_is_zero(model, images):
    """Rather than a division by zero: a head without weights."""
    blind = keras.models.clone_model(model)
    blind.get_layer("predictions").set_weights(
        [np.zeros((128, 10)), np.zeros(10)]
    )
    for method in METHODS:
        found = grad_cam(blind, images(1, 96, 128, 3), method=method)
        assert (found == 0).all()


def test_other_models_that_hold_one(images):
    base = gcvit_keras.GCViT(
        **NANO, include_top=False, pooling="avg", input_shape=(64, 64, 3)
    )
    inner = keras.Sequential([keras.Input((64, 64, 3)), base])
    model = keras.Sequential([keras.Input((64, 64, 3)), inner])
    model.add(layers.Dense(2, activation="softmax"))
    base.trainable = False
    x = images(2, 64, 64, 3)
    found = grad_cam(model, x, 1)
    flat = keras.Model(base.input, model.layers[-1](base.output))
    np.testing.assert_allclose(found, grad_cam(flat, x, 1), atol=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"method": "cam"}, "`method` must be one of.*'cam'"),
        ({"class_index": 10}, "`class_index` must be.*0 to 9.*=10"),
        ({"class_index": -1}, "`class_index` must be.*0 to 9.*=-1"),
        ({"class_index": 1.5}, "`class_index` must be.*=1.5"),
        ({"class_index": [1, 2]}, r"`class_index`.*the 1 images.*\[1, 2\]"),
        ({"class_index": True}, "`class_index` must be.*=True"),
        ({"class_index": [[1], [1, 2]]}, "`class_index` must be"),
        ({"method": np.array(["gradcam"])}, "`method` must be.*array"),
        ({"layer": "missing"}, "'level_3_block_1'.*layer='missing'"),
        ({"layer": "norm1"}, "not of \\d+ layers. Received: layer='norm1'"),
        ({"layer": "pool"}, r"`layer` must give a feature map.*\(1, 128\)"),
        ({"layer": layers.Dense(3)}, "`layer` is not called by the model"),
        ({"layer": 7}, "`layer` must be.*layer=7"),
        ({"batch_size": 1.5}, "`batch_size` must be.*1.5"),
        ({"images": np.zeros((1, 64, 64, 3))}, r"`images`.*\(1, 64, 64, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(model, images, arguments, words):
    arguments = {"images": images(1, 96, 128, 3), **arguments}
    with pytest.raises(ValueError, match=words):
        grad_cam(model, **arguments)


def test_what_gives_no_scores_is_refused(nano, images):
    model = nano(include_top=False, input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="must be a classifier"):
        grad_cam(model, images(1, 64, 64, 3))
