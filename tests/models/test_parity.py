"""The models compute what the PyTorch references compute."""

import keras
import numpy as np
import pytest
from nano import REFERENCE
from safetensors.numpy import load_file, save_file

from gcvit_keras import GCViTBackbone, feature_pyramid

CASES = [
    ("official_nano", {"se_divisor": 1}),
    ("timm_nano", {"se_divisor": 8}),
    ("timm_nano_layerscale", {"se_divisor": 8, "layer_scale": 1e-5}),
]


def reference(name):
    """What the real code computed; all of the same image, kept once."""
    image = np.load(REFERENCE / "official_nano_io.npz")["image"]
    return {"image": image, **np.load(REFERENCE / f"{name}_io.npz")}


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
    expected = reference(name)
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
    expected = reference(name)
    model = reference_model(nano, name, options)
    pyramid = feature_pyramid(model)(expected["image"])
    assert sorted(pyramid) == ["P2", "P3", "P4", "P5"]
    for i in range(4):
        value = expected.get(f"level{i}")
        if value is None:  # the last two, which follow from it, are there
            continue
        error = np.abs(pyramid[f"P{i + 2}"] - value).max()
        assert error <= 1e-4 * np.abs(value).max()


def test_preprocessing_inside_equals_normalised_input(nano):
    name, options = CASES[0]
    inside = nano(
        **options,
        weights=REFERENCE / f"{name}.safetensors",
        classifier_activation=None,
    )
    expected = reference(name)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = (expected["image"] * std + mean) * 255
    np.testing.assert_allclose(
        inside(pixels.astype("float32")), expected["logits"], atol=1e-4
    )


@pytest.mark.parametrize(
    "input_shape, window_size",
    [
        ((64, 96, 3), None),
        ((None, None, 3), ((2, 3), (2, 3), (4, 6), (2, 3))),
    ],
)
def test_windows_that_are_not_square_equal_timms(
    nano, tmp_path, input_shape, window_size
):
    """On 64 x 96 pixels: rows and columns of windows differ at every level."""
    tables = dict(np.load(REFERENCE / "timm_rectangular.npz"))
    image, logits = tables.pop("image"), tables.pop("logits")
    tensors = load_file(REFERENCE / "timm_nano.safetensors")
    save_file(tensors | tables, tmp_path / "rectangular.safetensors")
    model = nano(
        se_divisor=8,
        weights=tmp_path / "rectangular.safetensors",
        input_shape=input_shape,
        window_size=window_size,
        include_preprocessing=False,
        classifier_activation=None,
    )
    np.testing.assert_allclose(model(image), logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("input_shape", [(160, 224, 3), None])
def test_the_backbone_computes_the_official_detection_reference(input_shape):
    """Windows of 12 on a 160 x 224 image.

    Every level is padded, every query and position table resized.
    """
    backbone = GCViTBackbone(
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        mlp_ratio=3,
        layer_scale=1e-5,
        window_size=(12, 12, 12, 12),
        query_pools=(3, 2, 1, 0),
        level_norms=True,
        include_preprocessing=False,
        weights=REFERENCE / "official_detection_nano.safetensors",
        input_shape=input_shape,
    )
    expected = np.load(REFERENCE / "official_detection_nano_io.npz")
    pyramid = backbone(expected["image"])
    assert sorted(pyramid) == ["P2", "P3", "P4", "P5"]
    for key, value in pyramid.items():
        # Single values of both are more than 1e-4 off what float64 gives; an
        # error of the layers' own would show in all of them.
        error = np.abs(value - expected[key])
        assert np.sqrt(np.square(error).mean()) <= 3e-5
        assert error.max() <= 5e-5 * np.abs(expected[key]).max()
