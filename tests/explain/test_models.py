"""Models that hold a GC ViT in other ways, and what cannot be explained."""

import threading
from unittest import mock

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from nano import SMALL

import gcvit_keras
from gcvit_keras.explain import (
    attention_maps,
    attention_rollout,
    global_query_tokens,
    grad_cam,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return gcvit_keras.GCViT(**SMALL)


def after(model, *before, size=(96, 96)):
    """The model behind other layers."""
    x = inputs = keras.Input((*size, 3))
    for layer in before:
        x = layer(x)
    return keras.Model(inputs, model(x))


@pytest.mark.parametrize("size", [(96, 96), (48, 80), (34, 34)])
def test_maps_of_a_model_that_resizes_cover_the_image(model, images, size):
    x = images(1, *size, 3)
    resize = layers.Resizing(64, 64)
    found = grad_cam(after(model, resize, size=size), x, 3)
    # Two places of a side, which meet in the middle of the image.
    given = np.asarray(resize(x))
    corners = grad_cam(model, given, 3)[0][::63, ::63]
    np.testing.assert_allclose(found[0][[0, -1]][:, [0, -1]], corners, 1e-3)
    middle = found[0, 0, size[1] // 2 - 1 : size[1] // 2 + 1].mean()
    np.testing.assert_allclose(middle, corners[0].mean(), atol=0.02)


def test_attention_says_what_it_covers(nano, images):
    inner = nano(depths=(1, 2, 1, 1), input_shape=(None, None, 3))
    x = images(1, 96, 96, 3)
    for found in attention_maps(after(inner, layers.Resizing(50, 40)), x):
        assert found.input_size == (50, 40)
    for found in attention_maps(after(inner), x):
        assert found.input_size == (96, 96)


MOVED = {
    "crop": (layers.CenterCrop(64, 64),),
    "padding": (layers.ZeroPadding2D(16),),
    "crop to the aspect": (layers.Resizing(64, 96, crop_to_aspect_ratio=True),),
    "pad to the aspect": (layers.Resizing(64, 96, pad_to_aspect_ratio=True),),
    "a function of any kind": (layers.Lambda(lambda x: x[:, :, ::-1]),),
    "crop after resizing": (layers.Resizing(99, 99), layers.RandomCrop(9, 9)),
}


@pytest.mark.parametrize("kind", MOVED)
def test_what_may_not_be_the_whole_image_is_refused(nano, images, kind):
    inner = nano(depths=(1, 2, 1, 1), input_shape=(None, None, 3))
    model = after(inner, *MOVED[kind])
    name = MOVED[kind][-1].name
    for explain in (grad_cam, attention_maps):
        with pytest.raises(ValueError, match=f"the whole image.*'{name}'"):
            explain(model, images(1, 96, 96, 3))


@pytest.mark.parametrize("explain", [grad_cam, attention_maps])
def test_a_model_that_is_refused_is_not_run(nano, images, explain):
    inner = nano(depths=(1, 2, 1, 1), input_shape=(None, None, 3))
    model = after(inner, *MOVED["padding"])
    with (
        mock.patch.object(inner, "call", side_effect=AssertionError("ran")),
        pytest.raises(ValueError, match="the whole image"),
    ):
        explain(model, images(1, 96, 96, 3))


@pytest.mark.parametrize(
    "before, size",
    [
        ((layers.RandomFlip(), layers.RandomZoom(0.3)), (96, 96)),
        ((layers.Rescaling(1 / 2), layers.Normalization()), (96, 96)),
        ((layers.Resizing(192, 150),), (192, 150)),
    ],
)
def test_what_leaves_the_image_in_its_place_will_do(nano, images, before, size):
    inner = nano(depths=(1, 2, 1, 1), input_shape=(None, None, 3))
    x = images(1, 96, 96, 3)
    found = attention_maps(after(inner, *before), x)[0]
    assert found.input_size == size
    deeper = keras.Sequential([keras.Input((96, 96, 3)), after(inner, *before)])
    assert attention_maps(deeper, x)[0].input_size == size


def test_threads_wait_for_each_other_and_leave_the_model_as_it_was(
    model, images, tmp_path
):
    x = images(1, 64, 64, 3)
    layers_ = list(model._flatten_layers())
    before = [set(vars(layer)) for layer in layers_]
    expected = grad_cam(model, x, 1), attention_maps(model, x)[0].weights
    results = []

    def work():
        for _ in range(4):
            results.append(
                (grad_cam(model, x, 1), attention_maps(model, x)[0].weights)
            )

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for result in results:
        for found, wanted in zip(result, expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert [set(vars(layer)) for layer in layers_] == before
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    "kind", [f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)]
)
def test_class_index_is_an_integer_of_any_type(model, images, kind):
    x = images(2, 64, 64, 3)
    expected = grad_cam(model, x, 3)
    assert (grad_cam(model, x, np.dtype(kind).type(3)) == expected).all()
    assert (grad_cam(model, x, np.full(2, 3, kind)) == expected).all()


@pytest.mark.parametrize("kind", [bool, "float32"])
def test_class_index_of_another_type_is_refused(model, images, kind):
    with pytest.raises(ValueError, match="`class_index` must be an integer"):
        grad_cam(model, images(1, 64, 64, 3), np.ones(1, kind))


ALL = (grad_cam, attention_maps, attention_rollout, global_query_tokens)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("explain", ALL)
def test_images_have_to_be_finite(model, images, explain, value):
    x = images(1, 64, 64, 3)
    x[0, 3, 4, 1] = value
    with pytest.raises(ValueError, match="`images` must be finite"):
        explain(model, x)


def test_a_model_of_nan_is_refused(model, images):
    broken = keras.models.clone_model(model)
    broken.get_layer("predictions").bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match="`model` must give finite scores"):
        grad_cam(broken, images(1, 64, 64, 3))
    table = broken.get_layer("level_1_block_1").attention.weights[-1]
    table.assign(np.full(table.shape, np.nan))
    with pytest.raises(ValueError, match="`model` must compute finite"):
        attention_maps(broken, images(1, 64, 64, 3))


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "thing",
    [
        None,
        "model.keras",
        layers.Dense(2),
        lambda x: x,
        keras.Sequential([layers.Dense(2)]),
        Subclassed(),
    ],
)
@pytest.mark.parametrize("explain", ALL)
def test_what_is_no_model_is_refused(images, explain, thing):
    with pytest.raises(
        ValueError, match="`model` must be a functional.*model="
    ):
        explain(thing, images(1, 64, 64, 3))


@pytest.mark.parametrize("explain", ALL)
def test_a_model_that_is_called_twice_is_refused(model, images, explain):
    x = keras.Input((64, 64, 3))
    darker = layers.Rescaling(0.9)(x)
    both = keras.Model(x, layers.Average()([model(x), model(darker)]))
    with pytest.raises(ValueError, match="`model` must call each layer.*once"):
        explain(both, images(1, 64, 64, 3))


def test_images_are_arrays_of_any_number_type_but_no_symbols(model, images):
    x = images(1, 64, 64, 3).round()
    expected = grad_cam(model, x, 1)
    for kind in ("uint8", "int64", "float64"):
        assert (grad_cam(model, x.astype(kind), 1) == expected).all()
    half = x.astype(ml_dtypes.bfloat16)
    expected = grad_cam(model, half.astype("float32"), 1)
    for value in (half, tf.constant(half)):
        assert (grad_cam(model, value, 1) == expected).all()
    with pytest.raises(ValueError, match="`images` must be an array.*tf.func"):
        tf.function(lambda: grad_cam(model, x))()
    with pytest.raises(ValueError, match="`images` must be an array.*KerasT"):
        grad_cam(model, keras.Input((64, 64, 3)))


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_single_score_is_that_of_two_classes(images, activation):
    """Against a model of two logits, of which the first is the negative."""
    keras.utils.set_random_seed(0)
    base = gcvit_keras.GCViT(**{**SMALL, "include_top": False}, pooling="avg")
    kernel = np.random.default_rng(0).normal(size=(128, 1))
    one = layers.Dense(1, activation)
    two = layers.Dense(2)
    single = keras.Model(base.input, one(base.output))
    double = keras.Model(base.input, two(base.output))
    one.set_weights([kernel, np.zeros(1)])
    two.set_weights([np.hstack([-kernel, kernel]), np.zeros(2)])
    x = images(2, 64, 64, 3)
    for wanted in (0, 1, None):
        expected = grad_cam(double, x, wanted)
        np.testing.assert_allclose(
            grad_cam(single, x, wanted), expected, atol=1e-5
        )
    assert np.abs(grad_cam(double, x, 0) - grad_cam(double, x, 1)).max() > 0.1
    with pytest.raises(ValueError, match="`class_index` must be.*0 to 1"):
        grad_cam(single, x, 2)


def test_a_map_of_one_place_is_the_same_everywhere(nano, images):
    model = nano(input_shape=(32, 32, 3))
    x = images(8, 32, 32, 3)
    found = grad_cam(model, x)
    assert (found == found[:, :1, :1]).all()
    assert set(np.unique(found)) <= {0, 1}
