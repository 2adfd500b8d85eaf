"""Strict porting: names, layouts and errors."""

import json

import keras
import ml_dtypes  # noqa: F401  gives numpy bfloat16
import numpy as np
import pytest
from conftest import REFERENCE
from safetensors.numpy import load_file, save_file

import gcvit_keras
from gcvit_keras.weights.names import checkpoint_key, detect_scheme
from gcvit_keras.weights.porting import checkpoint_variables, to_keras_layout

FACTS = json.loads((REFERENCE / "facts.json").read_text())


@pytest.mark.parametrize(
    "fact, constructor, size",
    [
        ("xxtiny", gcvit_keras.GCViTXXTiny, 224),
        ("timm_xxtiny", gcvit_keras.GCViTXXTiny, 224),
        ("small", gcvit_keras.GCViTSmall, 224),
        ("timm_small", gcvit_keras.GCViTSmall, 224),
        ("large_512_21k", gcvit_keras.GCViTLarge, 512),
    ],
)
def test_published_checkpoints_map_one_to_one(fact, constructor, size):
    shapes = FACTS[fact]["keys"]
    classes = shapes.get("head.bias", shapes.get("head.fc.bias"))[0]
    model = constructor(
        weights=None, input_shape=(size, size, 3), classes=classes
    )
    assert model.count_params() == FACTS[fact]["params"]
    variables = checkpoint_variables(model, detect_scheme(shapes))
    parameters = {k for k in shapes if "relative_position_index" not in k}
    assert set(variables) == parameters
    for key, variable in variables.items():
        # A view of one zero: nothing of the shape's size is allocated.
        tensor = np.broadcast_to(np.float32(0), shapes[key])
        assert to_keras_layout(tensor, variable).shape == variable.shape, key


@pytest.fixture
def checkpoint():
    return load_file(REFERENCE / "official_nano.safetensors")


def load(nano, tmp_path, tensors, **options):
    save_file(tensors, tmp_path / "edited.safetensors")
    return nano(weights=tmp_path / "edited.safetensors", **options)


def test_a_missing_tensor_is_named(nano, tmp_path, checkpoint):
    del checkpoint["levels.2.blocks.1.mlp.fc1.bias"]
    with pytest.raises(ValueError, match=r"  missing: levels.2.blocks.1.mlp"):
        load(nano, tmp_path, checkpoint)


@pytest.mark.parametrize(
    "key",
    [
        "levels.0.blocks.2.norm1.weight",
        "levels.9.blocks.0.attn.relative_position_index",
        "head2.weight",
    ],
)
def test_a_tensor_too_many_is_named(nano, tmp_path, checkpoint, key):
    checkpoint[key] = np.zeros(16, "float32")
    with pytest.raises(ValueError, match=f"unexpected: {key}"):
        load(nano, tmp_path, checkpoint)


def test_a_tensor_of_another_shape_is_named(nano, tmp_path, checkpoint):
    checkpoint["norm.weight"] = np.zeros(64, "float32")
    with pytest.raises(ValueError, match=r"shape: norm.weight: \(64,\)"):
        load(nano, tmp_path, checkpoint)


def test_all_problems_are_listed_and_nothing_is_loaded(
    nano, tmp_path, checkpoint
):
    model = nano()
    before = model.get_weights()
    checkpoint["extra"] = checkpoint.pop("norm.bias")
    checkpoint["stem"] = checkpoint.pop("head.bias")
    save_file(checkpoint, tmp_path / "edited.safetensors")
    with pytest.raises(ValueError) as error:
        gcvit_keras.load_weights(model, tmp_path / "edited.safetensors")
    first, *lines = str(error.value).split("\n")
    assert "2 missing (norm.bias), 2 unexpected (" in first
    assert "0 of another shape" in first
    assert sorted(line.split(":")[1].strip() for line in lines) == [
        "extra",
        "head.bias",
        "norm.bias",
        "stem",
    ]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_checkpoint_of_another_variant_is_refused(nano):
    with pytest.raises(ValueError, match="does not fit model 'gcvit'"):
        nano(
            depths=(2, 2, 3, 2), weights=REFERENCE / "official_nano.safetensors"
        )


def test_classes_must_be_the_checkpoints(nano):
    with pytest.raises(ValueError, match="of another shape: head.weight"):
        nano(classes=7, weights=REFERENCE / "official_nano.safetensors")


def test_without_the_top_the_classifier_is_left_out(nano, checkpoint):
    model = nano(
        include_top=False, weights=REFERENCE / "official_nano.safetensors"
    )
    np.testing.assert_array_equal(
        model.get_layer("norm").gamma, checkpoint["norm.weight"]
    )


def test_layers_before_an_input_tensor_are_left_alone(nano, checkpoint):
    inputs = keras.Input((224, 224, 4))
    before = keras.layers.Conv2D(3, 1, name="before")
    model = nano(
        input_tensor=before(inputs),
        weights=REFERENCE / "official_nano.safetensors",
    )
    np.testing.assert_array_equal(
        model.get_layer("norm").beta, checkpoint["norm.bias"]
    )


def test_unknown_naming_is_refused(nano, tmp_path):
    with pytest.raises(ValueError, match="no GC ViT checkpoint"):
        load(nano, tmp_path, {"conv1.weight": np.zeros(3, "float32")})


def test_a_damaged_file_is_refused(nano, tmp_path):
    whole = (REFERENCE / "official_nano.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for content in (whole[:1000], whole[:-1], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cut.safetensors"):
            nano(weights=path)


@pytest.mark.parametrize("scheme", ["official", "timm"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_precisions_load(nano, tmp_path, scheme, dtype):
    divisor = 8 if scheme == "timm" else 1
    tensors = load_file(REFERENCE / f"{scheme}_nano.safetensors")
    tensors = {
        key: value if value.dtype == "int64" else value.astype(dtype)
        for key, value in tensors.items()
    }
    model = load(nano, tmp_path, tensors, se_divisor=divisor)
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("stem").conv.bias),
        tensors[checkpoint_key("stem/conv/bias", scheme)].astype("float32"),
    )


@pytest.mark.parametrize(
    "saved, words",
    [
        ({"depths": (2, 2, 3, 2)}, "0 missing, "),
        ({"depths": (2, 2, 1, 2)}, "0 unexpected, "),
        # Keras itself would load this and leave the scales out.
        ({"layer_scale": 0.1}, "0 missing, "),
        ({"classes": 7}, "0 missing, 0 unexpected, 2 of another shape"),
    ],
)
def test_keras_weights_of_another_model_are_refused_whole(
    nano, tmp_path, saved, words
):
    nano(**saved).save_weights(tmp_path / "x.weights.h5")
    model = nano()
    before = model.get_weights()
    with pytest.raises(ValueError, match=words):
        gcvit_keras.load_weights(model, tmp_path / "x.weights.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_keras_weights_trained_with_drop_path_load_without(nano, tmp_path):
    trained = nano(drop_path_rate=0.2)
    trained.save_weights(tmp_path / "x.weights.h5")
    model = nano(weights=tmp_path / "x.weights.h5")
    kernel = trained.get_layer("predictions").kernel
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, kernel)


def test_a_damaged_keras_file_is_refused(nano, tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_text("broken")
    with pytest.raises(ValueError, match="x.weights.h5 cannot be read"):
        nano(weights=path)


def test_names_of_both_schemes():
    path = "level_1_downsample/fused_mbconv/squeeze_excite/expand/kernel"
    assert checkpoint_key(path, "official") == (
        "levels.1.downsample.conv.2.fc.2.weight"
    )
    assert checkpoint_key(path, "timm") == (
        "stages.2.downsample.conv_block.se.fc2.weight"
    )
