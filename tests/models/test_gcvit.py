"""Functional models: sizes, saving, precision, gradients, errors."""

import warnings
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcvit_keras import GCViTTiny, feature_pyramid


def distance(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


@pytest.mark.parametrize("size", [(224, 224), (123, 123), (96, 160), (5, 3)])
def test_dynamic_sizes_compute_what_static_ones_do(nano, images, size):
    static = nano(input_shape=(*size, 3), window_size=(7, 7, 14, 7))
    dynamic = nano(input_shape=(None, None, 3))
    dynamic.set_weights(static.get_weights())
    x = images(2, *size, 3)
    assert distance(static(x), dynamic(x)) < 1e-6


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channel_counts_run_on_dynamic_sizes(nano, images, channels):
    model = nano(input_shape=(None, None, channels))
    scores = np.asarray(model(images(2, 40, 61, channels)))
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "input_shape, windows",
    [
        ((224, 224, 3), (7, 7, 14, 7)),
        ((384, 384, 3), (12, 12, 24, 12)),
        ((512, 512, 3), (16, 16, 32, 16)),
        ((123, 123, 3), (7, 7, 14, 7)),
        ((224, 256, 3), ((7, 8), (7, 8), (14, 16), (7, 8))),
        ((320, 192, 3), ((10, 6), (10, 6), (20, 12), (10, 6))),
        ((224, 250, 3), (7, 7, 14, 7)),
        ((224, None, 3), (7, 7, 14, 7)),
        ((None, None, 3), (7, 7, 14, 7)),
    ],
)
def test_default_windows_follow_the_input_size(nano, input_shape, windows):
    model = nano(input_shape=input_shape)
    for level, window in enumerate(windows):
        for layer in ("query", "block_0", "block_1"):
            name = f"level_{level}_{layer}"
            sides = tuple(np.broadcast_to(window, 2))
            assert model.get_layer(name).window_size == sides


def test_feature_maps_have_strides_4_to_32_at_odd_sizes(nano, images):
    model = nano(include_top=False, input_shape=(123, 70, 3))
    pyramid = feature_pyramid(model)
    shapes = {k: v.shape[1:] for k, v in pyramid(images(1, 123, 70, 3)).items()}
    assert shapes == {
        "P2": (31, 18, 16),
        "P3": (16, 9, 32),
        "P4": (8, 5, 64),
        "P5": (4, 3, 128),
    }
    assert {k: v.shape[1:] for k, v in pyramid.output.items()} == shapes


def test_feature_pyramid_shares_the_weights(nano):
    model = nano(include_top=False)
    ours = {id(v) for v in model.variables}
    assert {id(v) for v in feature_pyramid(model).variables} <= ours


def test_an_image_does_not_depend_on_the_rest_of_its_batch(nano, images):
    model = nano(input_shape=(64, 96, 3), classifier_activation=None)
    x = images(3, 64, 96, 3)
    together = model(x)
    for i in range(3):
        assert distance(model(x[i : i + 1]), together[i : i + 1]) < 1e-5
    # Unequal images must differ, or the line above shows nothing.
    assert distance(together[0], together[1]) > 1e-3


def test_input_tensor_continues_a_graph(nano, images):
    before = keras.layers.Conv2D(3, 2, strides=2, name="before")
    inputs = keras.Input((64, 64, 4))
    model = nano(input_tensor=before(inputs), pooling=None)
    plain = nano(input_shape=(32, 32, 3))
    plain.set_weights(model.get_weights()[2:])
    x = images(1, 64, 64, 4)
    assert distance(model(x), plain(before(x))) < 1e-6


def test_pooling_reduces_the_normalised_map(nano, images):
    x = images(2, 64, 64, 3)
    base = nano(include_top=False)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = nano(include_top=False, pooling=pooling)
        pooled.set_weights(base.get_weights())
        expected = reduce(np.asarray(base(x)), axis=(1, 2))
        assert distance(pooled(x), expected) < 1e-5


def test_keras_and_h5_round_trips_are_bit_exact(nano, images, tmp_path):
    options = {"layer_scale": 1e-5, "drop_path_rate": 0.2}
    model = nano(input_shape=(None, 64, 3), **options)
    x = images(2, 32, 64, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert distance(model(x), loaded(x)) == 0
    model.save_weights(tmp_path / "model.weights.h5")
    built = nano(
        input_shape=(None, 64, 3),
        weights=tmp_path / "model.weights.h5",
        **options,
    )
    assert distance(model(x), built(x)) == 0


def test_clone_model_computes_the_same(nano, images):
    model = nano(input_shape=(32, 32, 3), drop_path_rate=0.1)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = images(2, 32, 32, 3)
    assert distance(model(x), clone(x)) == 0


@pytest.mark.parametrize(
    "policy, tolerance", [("mixed_float16", 2e-2), ("mixed_bfloat16", 1e-1)]
)
def test_mixed_precision_predicts_what_float32_does(
    nano, images, tmp_path, policy, tolerance
):
    x = images(2, 32, 32, 3)
    options = {"input_shape": (32, 32, 3), "classifier_activation": None}
    full = nano(**options)
    keras.config.set_dtype_policy(policy)
    mixed = nano(**options)
    mixed.set_weights(full.get_weights())
    assert mixed(x).dtype == tf.float32
    assert mixed.get_layer("level_0_block_0").compute_dtype == policy[6:]
    assert distance(mixed(x), full(x)) < tolerance * np.abs(full(x)).max()
    mixed.save(tmp_path / "mixed.keras")
    keras.config.set_dtype_policy("float32")
    loaded = keras.models.load_model(tmp_path / "mixed.keras")
    assert distance(mixed(x), loaded(x)) == 0


@pytest.mark.parametrize(
    "policy, jit_compile",
    [
        pytest.param("float32", True, marks=pytest.mark.slow),
        ("mixed_float16", False),
        pytest.param("mixed_bfloat16", False, marks=pytest.mark.slow),
    ],
)
def test_fit_learns_and_xla_predicts_the_same(
    nano, images, policy, jit_compile
):
    keras.config.set_dtype_policy(policy)
    model = nano(
        embed_dim=8,
        depths=(1, 1, 2, 1),
        num_heads=(1, 1, 2, 2),
        layer_scale=1e-1,
        drop_path_rate=0.1,
        input_shape=(32, 32, 3),
    )
    x, y = images(4, 32, 32, 3), np.arange(4)
    model.compile(
        keras.optimizers.AdamW(1e-2),
        "sparse_categorical_crossentropy",
        jit_compile=jit_compile,
    )
    # A step that makes variables is traced twice.
    model.optimizer.build(model.trainable_variables)
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=10, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.5 * before
    eager = model(x, training=False)
    tolerance = 1e-5 if policy == "float32" else 2e-2
    assert distance(model.predict(x, verbose=0), eager) < tolerance


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_pure_half_precision_predicts_what_float32_does(nano, images, policy):
    """Eagerly, where TensorFlow multiplies numbers of one type only."""
    x = images(2, 64, 32, 3)
    options = {
        "input_shape": (64, 32, 3),
        "layer_scale": 1e-1,
        "drop_path_rate": 0.2,
        "classifier_activation": None,
    }
    full = nano(**options)
    keras.config.set_dtype_policy(policy)
    half = nano(**options)
    half.set_weights(full.get_weights())
    for training in (False, True):
        scores = half(x, training=training)
        assert scores.dtype == policy
        assert np.isfinite(tf.cast(scores, "float32")).all()
    scores, expected = tf.cast(half(x), "float32"), full(x)
    assert distance(scores, expected) < 0.1 * np.abs(expected).max()
    assert distance(scores, half.predict(x, verbose=0)) < 0.05


@pytest.mark.filterwarnings("error")
def test_windows_of_one_pixel_warn_of_nothing(nano, images):
    """A softmax over a single key is right: Keras warns of it all the same."""
    model = nano(input_shape=(32, 32, 3))
    x = images(2, 32, 32, 3)
    model(x)
    model.predict(x, verbose=0)
    block = model.get_layer("level_3_block_1").attention
    one = keras.ops.ones((2, 3, 1, 4))
    assert np.all(block.attention_weights(one, 3 * one, 5.0) == 1)


@pytest.mark.parametrize("layer_scale", [None, 1e-5])
def test_every_parameter_receives_a_gradient(nano, images, layer_scale):
    model = nano(input_shape=(64, 64, 3), layer_scale=layer_scale)
    y = np.array([1, 7])
    with tf.GradientTape() as tape:
        scores = model(images(2, 64, 64, 3), training=True)
        loss = keras.losses.sparse_categorical_crossentropy(y, scores)
    gradients = tape.gradient(
        loss, [v.value for v in model.trainable_variables]
    )
    for variable, gradient in zip(
        model.trainable_variables, gradients, strict=True
    ):
        assert gradient is not None, variable.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.path


def test_int8_quantization_predicts_saves_and_loads(nano, images, tmp_path):
    model = nano(
        depths=(1, 1, 2, 1),
        input_shape=(32, 32, 3),
        classifier_activation=None,
    )
    x = images(2, 32, 32, 3)
    full = np.asarray(model(x))
    with (
        warnings.catch_warnings(),
        mock.patch("gc.collect"),  # Keras's, a second for each layer here
    ):
        warnings.filterwarnings("ignore", "Layer .* `quantize` method")
        model.quantize("int8")
    block = model.get_layer("level_2_block_1")
    assert block.attention.qkv.kernel.dtype == "int8"
    assert block.mlp_project.kernel.dtype == "int8"
    assert 0 < distance(model(x), full) < 0.05 * np.abs(full).max()
    model.save(tmp_path / "int8.keras")
    loaded = keras.models.load_model(tmp_path / "int8.keras")
    assert distance(loaded(x), model(x)) == 0


def test_drop_path_grows_linearly_from_zero(nano):
    model = nano(depths=(1, 2, 3, 2), drop_path_rate=0.7)
    rates = [
        layer.drop_path_rate for layer in model.layers if "block" in layer.name
    ]
    np.testing.assert_allclose(sorted(rates), np.linspace(0, 0.7, 8))
    assert model.get_layer("level_0_block_0").drop_path_rate == 0
    assert GCViTTiny(weights=None).get_layer(
        "level_3_block_4"
    ).drop_path_rate == pytest.approx(0.2)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("depths", (2, 2, 2)),
        ("depths", (2, 2, 0, 2)),
        ("num_heads", (3, 2, 4, 8)),
        ("pooling", "mean"),
        ("classes", 0),
        ("classes", 2.5),
        ("classes", True),
        ("classifier_activation", "nope"),
        ("mlp_ratio", "x"),
        ("drop_path_rate", "a"),
        ("input_shape", 224),
        ("input_shape", (224, 224, "3")),
        ("weights", 123),
        ("se_divisor", 0),
        ("se_divisor", 1.5),
        ("layer_scale", "x"),
        ("layer_scale", float("nan")),
        ("embed_dim", 16.0),
        ("mlp_ratio", 0),
        ("depths", 2),
        ("window_size", 7),
        ("drop_path_rate", 1.5),
        ("window_size", (7, 7, 14)),
        ("window_size", (7, 7, 14, 0)),
        ("window_size", (7, 7, 14, (7, 7, 7))),
        ("window_size", (7, 7, 14, (7, 2.5))),
        ("input_shape", (3, 224, 224)),
        ("input_shape", (1, 64, 32)),
        ("input_shape", (224, 224)),
        ("input_shape", (224, 224, None)),
        ("input_shape", (0, 224, 3)),
        ("input_tensor", np.zeros((1, 32, 32, 3))),
        ("weights", "imagenet"),
        ("weights", "missing.safetensors"),
        ("weights", "weights.bin"),
        ("weights", "missing.pth.tar"),
    ],
)
def test_bad_arguments_are_named_with_their_value(nano, argument, value):
    with pytest.raises(ValueError) as error:
        nano(**{argument: value})
    assert f"`{argument}`" in str(error.value)
    assert argument == "input_tensor" or str(value) in str(error.value)


def test_numpy_integers_are_integers(nano):
    assert nano(classes=np.int64(7)).output_shape == (None, 7)


def test_input_shape_must_agree_with_input_tensor(nano):
    with pytest.raises(ValueError, match="input_shape"):
        nano(input_tensor=keras.Input((32, 32, 3)), input_shape=(64, 64, 3))


def test_an_input_shape_beside_an_input_tensor_is_checked(nano):
    with pytest.raises(ValueError, match="`input_shape` must be that.*=224"):
        nano(input_tensor=keras.Input((224, 224, 3)), input_shape=224)


def test_an_input_tensor_that_is_no_image_is_named(nano):
    with pytest.raises(ValueError, match="`input_tensor` must be a batch"):
        nano(input_tensor=keras.Input((10,)))


def test_channels_first_names_the_fix(nano):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="set_image_data_format"):
            nano()
    finally:
        keras.config.set_image_data_format("channels_last")


def test_feature_pyramid_refuses_other_models():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="GC ViT"):
        feature_pyramid(model)
