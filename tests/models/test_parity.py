"""The models compute what the PyTorch references compute."""

import keras
import numpy as np
import pytest
from conftest import REFERENCE
from safetensors.numpy import load_file

from gcvit_keras import feature_pyramid
from gcvit_keras.layers import (
    Downsample,
    GCViTBlock,
    GlobalQueryGenerator,
    Stem,
)
from gcvit_keras.weights.names import checkpoint_key
from gcvit_keras.weights.porting import resize_table, to_keras_layout

CASES = [
    ("official_nano", {"se_divisor": 1}),
    ("official_nano_layerscale", {"se_divisor": 1, "layer_scale": 1e-5}),
    ("timm_nano", {"se_divisor": 8}),
    ("timm_nano_layerscale", {"se_divisor": 8, "layer_scale": 1e-5}),
]


def reference_model(nano, name, options, input_shape=(224, 224, 3)):
    return nano(
        **options,
        weights=REFERENCE / f"{name}.safetensors",
        input_shape=input_shape,
        include_preprocessing=False,
        classifier_activation=None,
    )


@pytest.mark.parametrize("input_shape", [(224, 224, 3), (None, None, 3)])
@pytest.mark.parametrize("name, options", CASES)
def test_logits_levels_and_queries_equal_the_reference(
    nano, name, options, input_shape
):
    expected = dict(np.load(REFERENCE / f"{name}_io.npz"))
    model = reference_model(nano, name, options, input_shape)
    outputs = {"logits": model.output}
    for i in range(4):
        outputs[f"level{i}"] = model.get_layer(f"level_{i}_block_1").output
        outputs[f"query{i}"] = model.get_layer(f"level_{i}_query").output
    computed = keras.Model(model.input, outputs)(expected.pop("image"))

    np.testing.assert_allclose(
        computed["logits"], expected["logits"], rtol=0, atol=1e-4
    )
    for key, value in expected.items():
        # Of the map's largest value (7 to 102): the references are float32
        # too, and lie up to 9e-4 from the same network in float64.
        error = np.abs(computed[key] - value).max()
        assert error <= 1e-4 * np.abs(value).max(), key


@pytest.mark.parametrize("name, options", CASES)
def test_feature_pyramid_is_the_levels_before_downsampling(nano, name, options):
    expected = np.load(REFERENCE / f"{name}_io.npz")
    model = reference_model(nano, name, options)
    pyramid = feature_pyramid(model)(expected["image"])
    assert sorted(pyramid) == ["P2", "P3", "P4", "P5"]
    for i in range(4):
        value = expected[f"level{i}"]
        error = np.abs(pyramid[f"P{i + 2}"] - value).max()
        assert error <= 1e-4 * np.abs(value).max()


def test_preprocessing_inside_equals_normalised_input(nano):
    name, options = CASES[0]
    inside = nano(
        **options,
        weights=REFERENCE / f"{name}.safetensors",
        classifier_activation=None,
    )
    expected = np.load(REFERENCE / f"{name}_io.npz")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = (expected["image"] * std + mean) * 255
    np.testing.assert_allclose(
        inside(pixels.astype("float32")), expected["logits"], atol=1e-4
    )


@pytest.mark.parametrize("input_shape", [(160, 224, 3), (None, None, 3)])
def test_padding_and_cubic_resize_equal_the_detection_reference(input_shape):
    """The official detection backbone, put together from our layers.

    Windows of 12 on a 160 x 224 image: every level is padded, every query
    and position table resized.
    """
    tensors = load_file(REFERENCE / "official_detection_nano.safetensors")
    expected = np.load(REFERENCE / "official_detection_nano_io.npz")
    inputs = keras.Input(input_shape)
    pyramid = {}
    x = Stem(16, name="stem")(inputs)
    for i, pools in enumerate((3, 2, 1, 0)):
        heads = 2**i
        query = GlobalQueryGenerator(12, pools, name=f"level_{i}_query")(x)
        x = GCViTBlock(heads, 12, layer_scale=1e-5, name=f"level_{i}_block_0")(
            x
        )
        x = GCViTBlock(
            heads, 12, True, layer_scale=1e-5, name=f"level_{i}_block_1"
        )(x, query)
        norm = keras.layers.LayerNormalization(epsilon=1e-5, name=f"norm{i}")
        pyramid[f"P{i + 2}"] = norm(x)
        if i < 3:
            x = Downsample(32 * 2**i, name=f"level_{i}_downsample")(x)
    model = keras.Model(inputs, pyramid)
    for variable in model.weights:
        key = checkpoint_key(variable.path, "official")
        tensor = tensors.pop(key)
        if key.endswith("relative_position_bias_table"):
            tensor, _ = resize_table(tensor, variable.shape)
        rank = len(variable.shape)
        variable.assign(to_keras_layout(tensor, variable.path, rank))
    assert not tensors
    for key, value in model(expected["image"]).items():
        # Single values of both are more than 1e-4 off what float64 gives; an
        # error of the layers' own would show in all of them.
        error = np.abs(value - expected[key])
        assert np.sqrt(np.square(error).mean()) <= 3e-5
        assert error.max() <= 5e-5 * np.abs(expected[key]).max()
