"""GCViTBackbone: sizes, configuration, saving, weights, errors."""

import inspect

import keras
import numpy as np
import pytest
from nano import NANO

import gcvit_keras
from gcvit_keras import GCViTBackbone

SIZES = {k: v for k, v in NANO.items() if k != "classes"}
DETECTION = {
    **SIZES,
    "window_size": (12, 12, 12, 12),
    "query_pools": (3, 2, 1, 0),
    "level_norms": True,
}


def distance(a, b):
    return max(float(np.abs(np.asarray(a[k]) - b[k]).max()) for k in a)


def randomized(model):
    """Norms and biases as trained ones: not what they are built as."""
    noise = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign_add(0.1 * noise.standard_normal(variable.shape))
    return model


def test_maps_are_those_of_the_classifiers_feature_pyramid(nano, images):
    classifier = nano(input_shape=(96, 64, 3), window_size=(7, 7, 14, 7))
    pyramid = gcvit_keras.feature_pyramid(classifier)
    backbone = GCViTBackbone(**SIZES)
    backbone.set_weights(classifier.get_weights()[:-4])
    x = images(2, 96, 64, 3)
    assert distance(pyramid(x), backbone(x)) < 1e-5


def test_a_variants_name_gives_the_sizes():
    backbone = GCViTBackbone("xxtiny")
    whole = gcvit_keras.GCViTXXTiny(weights=None)
    head = 512 * 1000 + 1000 + 2 * 512
    assert backbone.count_params() == whole.count_params() - head
    rate = backbone.get_layer("level_3_block_1").drop_path_rate
    assert rate == pytest.approx(0.2)
    slim = GCViTBackbone("small", embed_dim=24, depths=(1, 1, 1, 1))
    assert slim.get_layer("level_3_block_0").layer_scale == 1e-5
    assert slim.pyramid_outputs["P5"].shape[-1] == 192


def test_pyramid_outputs_are_the_models_outputs(images):
    backbone = GCViTBackbone(**SIZES)
    again = keras.Model(backbone.inputs, backbone.pyramid_outputs)
    x = images(1, 50, 70, 3)
    assert distance(backbone(x), again(x)) == 0
    assert backbone.pyramid_outputs["P3"].shape == (None, None, None, 32)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_keras_and_h5_files_and_clones_are_bit_exact(images, tmp_path, policy):
    keras.config.set_dtype_policy(policy)
    options = {**DETECTION, "layer_scale": 1e-2, "drop_path_rate": 0.3}
    backbone = randomized(GCViTBackbone(**options, input_shape=(None, 64, 3)))
    keras.config.set_dtype_policy("float32")
    x = images(2, 32, 64, 3)
    expected = {
        k: keras.ops.convert_to_numpy(keras.ops.cast(v, "float32"))
        for k, v in backbone(x).items()
    }

    backbone.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, GCViTBackbone)
    backbone.save_weights(tmp_path / "model.weights.h5")
    built = GCViTBackbone(
        **options,
        dtype=policy,
        input_shape=(None, 64, 3),
        weights=tmp_path / "model.weights.h5",
    )
    clone = keras.models.clone_model(backbone)
    clone.set_weights(backbone.get_weights())
    for copy in (loaded, built, clone):
        assert distance(expected, copy(x)) == 0
        block = copy.get_layer("level_1_block_1")
        assert block.dtype_policy.name == policy
        assert block.drop_path_rate == pytest.approx(0.3 * 3 / 7)


def test_the_configuration_is_the_arguments():
    backbone = GCViTBackbone(**DETECTION, name="mine", trainable=False)
    config = backbone.get_config()
    arguments = inspect.signature(GCViTBackbone).parameters
    assert set(config) == set(arguments)
    # A window of one side is square.
    expected = {**DETECTION, "name": "mine", "window_size": ((12, 12),) * 4}
    for argument, value in expected.items():
        assert config[argument] == value
    again = GCViTBackbone.from_config(config)
    assert again.get_config() == config
    assert not again.trainable_variables


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* `quantize` method")
def test_int8_quantization_is_saved(images, tmp_path):
    backbone = GCViTBackbone(**{**SIZES, "depths": (1, 1, 2, 1)})
    backbone.quantize("int8")
    backbone.save(tmp_path / "int8.keras")
    loaded = keras.models.load_model(tmp_path / "int8.keras")
    kernel = loaded.get_layer("level_2_block_1").attention.qkv.kernel
    assert kernel.dtype == "int8"
    x = images(1, 64, 64, 3)
    assert distance(backbone(x), loaded(x)) == 0


def test_a_classifiers_checkpoint_loads_into_a_detection_backbone(
    xxtiny, images, capfd
):
    model, folder = xxtiny
    backbone = GCViTBackbone("xxtiny", weights=folder / "timm.safetensors")
    x = images(1, 64, 96, 3)
    pyramid = gcvit_keras.feature_pyramid(
        gcvit_keras.GCViTXXTiny(
            weights=folder / "official.safetensors",
            classes=7,
            input_shape=(64, 96, 3),
            window_size=(7, 7, 14, 7),
        )
    )
    assert distance(pyramid(x), backbone(x)) < 1e-5
    detection = GCViTBackbone(
        "xxtiny",
        weights=folder / "official.safetensors",
        window_size=(24, 24, 24, 24),
        query_pools=(3, 2, 1, 0),
        level_norms=True,
    )
    said = capfd.readouterr().err
    assert "from windows of 14 to 24" in said
    assert "the norms of the levels are untrained" in said
    assert np.all(detection.get_layer("level_2_norm").gamma == 1)
    block = detection.get_layer("level_3_block_1").attention
    assert block.relative_position_bias_table.shape == (47**2, 16)
    np.testing.assert_array_equal(
        detection.get_layer("stem").conv.kernel,
        model.get_layer("stem").conv.kernel,
    )


def test_a_backbone_upon_a_layer_is_saved_by_a_model_around(images, tmp_path):
    inputs = keras.Input((64, 64, 4))
    before = keras.layers.Conv2D(3, 1, name="before")(inputs)
    backbone = GCViTBackbone(**SIZES, input_tensor=before)
    with pytest.raises(ValueError, match="`input_tensor`.*keras.Model"):
        backbone.get_config()
    around = keras.Model(backbone.inputs, backbone.pyramid_outputs)
    around.save(tmp_path / "around.keras")
    loaded = keras.models.load_model(tmp_path / "around.keras")
    x = images(1, 64, 64, 4)
    assert distance(backbone(x), loaded(x)) == 0


def test_a_head_upon_the_backbone_trains_in_one_model(images, tmp_path):
    backbone = GCViTBackbone(**{**DETECTION, "depths": (1, 2, 1, 1)})
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(inputs)["P5"])
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile("sgd", "mse")
    # A step that makes variables is traced twice.
    model.optimizer.build(model.trainable_variables)
    before = [w.numpy() for w in backbone.trainable_variables]
    model.fit(images(2, 64, 64, 3), np.ones((2, 2)), verbose=0)
    moved = [
        np.any(w != b)
        for w, b in zip(backbone.trainable_variables, before, strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    y = images(1, 64, 64, 3)
    np.testing.assert_array_equal(model(y), loaded(y))


@pytest.mark.parametrize(
    "argument, value",
    [
        ("variant", "tiny3"),
        ("variant", 3),
        ("embed_dim", None),
        ("depths", (2, 2, 2)),
        ("num_heads", (3, 2, 4, 8)),
        ("mlp_ratio", None),
        ("query_pools", (3, 2, 1)),
        ("query_pools", (3, 2, 1, -1)),
        ("window_size", (12, 12, 12)),
        ("drop_path_rate", 1.0),
        ("input_shape", (3, 224, 224)),
        ("weights", "imagenet"),
    ],
)
def test_bad_arguments_are_named_with_their_value(argument, value):
    with pytest.raises(ValueError) as error:
        GCViTBackbone(**{**SIZES, argument: value})
    assert f"`{argument}`" in str(error.value)
    assert str(value) in str(error.value)
