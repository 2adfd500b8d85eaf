"""Strict porting: names, layouts and errors."""

import json

import keras
import ml_dtypes  # noqa: F401  gives numpy bfloat16
import numpy as np
import pytest
from nano import REFERENCE
from safetensors.numpy import load_file, save_file

import gcvit_keras
from gcvit_keras.models.constructors import CONSTRUCTORS
from gcvit_keras.weights.loading import checkpoint_variables
from gcvit_keras.weights.names import checkpoint_key, detect_scheme
from gcvit_keras.weights.porting import to_keras_layout

FACTS = json.loads((REFERENCE / "facts.json").read_text())


@pytest.mark.parametrize("fact", [k for k, v in FACTS.items() if v["keys"]])
def test_published_checkpoints_map_one_to_one(fact):
    variant = fact.removeprefix("timm_").split("_")[0]
    size = FACTS[fact].get("resolution", 224)
    shapes = FACTS[fact]["keys"]
    classes = shapes.get("head.bias", shapes.get("head.fc.bias"))[0]
    model = CONSTRUCTORS[variant](
        weights=None, input_shape=(size, size, 3), classes=classes
    )
    assert model.count_params() == FACTS[fact]["params"]
    variables = checkpoint_variables(model, detect_scheme(shapes))
    parameters = {k for k in shapes if "relative_position_index" not in k}
    assert set(variables) == parameters
    for key, variable in variables.items():
        # A view of one zero: nothing of the shape's size is allocated.
        tensor = np.broadcast_to(np.float32(0), shapes[key])
        tensor = to_keras_layout(tensor, variable)
        assert tensor.shape == variable.shape, key


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


def test_the_default_classes_with_a_file_of_others_say_what_to_pass(nano):
    with pytest.raises(
        ValueError, match="of 10 classes.* Pass classes=10, or include_top=Fa"
    ):
        nano(classes=1000, weights=REFERENCE / "official_nano.safetensors")


@pytest.mark.parametrize("scheme", ["official", "timm"])
@pytest.mark.parametrize(
    "options, words",
    [
        ({"classes": 7}, "10 classes; the model's, of 7, is untrained"),
        ({"include_top": False}, "without its classifier of 10 classes."),
    ],
)
def test_another_classifier_leaves_the_files_out_and_says_so(
    nano, capsys, scheme, options, words
):
    options["se_divisor"] = 8 if scheme == "timm" else 1
    path = REFERENCE / f"{scheme}_nano.safetensors"
    model = nano(weights=path, **options)
    assert words in capsys.readouterr().err
    whole = nano(weights=path, se_divisor=options["se_divisor"])
    assert capsys.readouterr().err == ""
    expected = {w.path: w for w in whole.weights}
    for weight in model.weights:
        if "predictions" not in weight.path:
            np.testing.assert_array_equal(weight, expected[weight.path])


@pytest.mark.parametrize("scheme", ["official", "timm"])
def test_a_backbone_without_classifier_leaves_the_models_and_says_so(
    nano, tmp_path, capsys, scheme
):
    divisor = 8 if scheme == "timm" else 1
    whole = REFERENCE / f"{scheme}_nano.safetensors"
    tensors = {
        key: value
        for key, value in load_file(whole).items()
        if not key.startswith("head.")
    }
    model = load(nano, tmp_path, tensors, se_divisor=divisor)
    assert "without a classifier; the model's, of 10" in capsys.readouterr().err
    expected = nano(weights=whole, se_divisor=divisor)
    for found, right in zip(model.weights, expected.weights, strict=True):
        if "predictions" not in found.path:
            np.testing.assert_array_equal(found, right)
    with pytest.raises(ValueError, match="has no classifier, the model is of"):
        load(nano, tmp_path, tensors, se_divisor=divisor, classes=1000)
    load(nano, tmp_path, tensors, se_divisor=divisor, include_top=False)
    assert capsys.readouterr().err == ""


def test_half_a_classifier_is_refused(nano, tmp_path, checkpoint):
    del checkpoint["head.bias"]
    with pytest.raises(ValueError, match="1 missing .head.bias"):
        load(nano, tmp_path, checkpoint)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(
    nano, tmp_path, checkpoint, value
):
    model = nano()
    before = model.get_weights()
    checkpoint["norm.bias"][3] = value
    checkpoint["levels.1.blocks.0.mlp.fc2.weight"][0, 0] = value
    save_file(checkpoint, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="2 with NaN or infinity") as error:
        gcvit_keras.load_weights(model, tmp_path / "x.safetensors")
    assert "infinity: levels.1.blocks.0.mlp.fc2.weight" in str(error.value)
    assert "infinity: norm.bias" in str(error.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def cubic_in_float64(table, target):
    """PyTorch's bicubic by the definition, one output at a time."""

    def kernel(t):
        a, t = -0.75, abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    def taps(source, i):
        position = (i + 0.5) * source / target - 0.5
        before = int(np.floor(position))
        return [
            (min(max(k, 0), source - 1), kernel(position - k))
            for k in range(before - 1, before + 3)
        ]

    source = int(len(table) ** 0.5)
    grid = table.astype("float64").reshape(source, source, -1)
    result = np.zeros((target, target, grid.shape[-1]))
    for i in range(target):
        for j in range(target):
            for y, wy in taps(source, i):
                for x, wx in taps(source, j):
                    result[i, j] += wy * wx * grid[y, x]
    return result.reshape(target**2, -1)


def test_position_tables_are_resized_to_other_windows(nano, capsys, checkpoint):
    model = nano(
        weights=REFERENCE / "official_nano.safetensors",
        input_shape=(384, 384, 3),
    )
    said = capsys.readouterr().err
    assert "resized from windows of 7 to 12;" in said
    assert "resized from windows of 14 to 24" in said
    for level, window in enumerate((12, 12, 24, 12)):
        key = f"levels.{level}.blocks.0.attn.relative_position_bias_table"
        table = model.get_layer(f"level_{level}_block_0").attention
        np.testing.assert_allclose(
            table.relative_position_bias_table,
            cubic_in_float64(checkpoint[key], 2 * window - 1),
            atol=1e-6,
        )


def test_only_tables_of_square_windows_are_resized(nano, tmp_path, checkpoint):
    key = "levels.0.blocks.0.attn.relative_position_bias_table"
    for rows in (168, 144):
        checkpoint[key] = np.zeros((rows, 1), "float32")
        with pytest.raises(ValueError, match="of another shape: levels.0"):
            load(nano, tmp_path, checkpoint)


def test_one_channel_is_as_three_equal_ones(nano, capsys, images):
    options = {
        "include_top": False,
        "include_preprocessing": False,
        "weights": REFERENCE / "official_nano.safetensors",
    }
    grey = images(2, 64, 64, 1) / 255 - 0.5
    scores = nano(input_shape=(64, 64, 1), **options)(grey)
    assert "summed over RGB" in capsys.readouterr().err
    same = nano(input_shape=(64, 64, 3), **options)(np.repeat(grey, 3, -1))
    np.testing.assert_allclose(scores, same, atol=1e-4)


def test_one_channel_that_the_model_normalises_is_told_nothing_else(
    nano, capsys
):
    nano(
        input_shape=(224, 224, 1),
        weights=REFERENCE / "official_nano.safetensors",
    )
    assert capsys.readouterr().err.endswith("kernels summed over RGB.\n")


@pytest.mark.parametrize("scheme", ["official", "timm"])
def test_a_model_built_in_a_name_scope_loads(nano, scheme):
    options = {
        "weights": REFERENCE / f"{scheme}_nano.safetensors",
        "se_divisor": 8 if scheme == "timm" else 1,
        "input_shape": (96, 96, 1),  # with all that is adapted
    }
    with keras.name_scope("a"):
        scoped = nano(**options)
    assert scoped.weights[0].path.startswith("a/")
    for computed, expected in zip(
        scoped.weights, nano(**options).weights, strict=True
    ):
        np.testing.assert_array_equal(computed, expected)


def test_a_fourth_channel_gets_the_mean_of_the_others(nano, capsys, checkpoint):
    model = nano(
        input_shape=(224, 224, 4),
        weights=REFERENCE / "official_nano.safetensors",
    )
    assert "mean of the stem's RGB" in capsys.readouterr().err
    kernel = checkpoint["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    found = np.asarray(model.get_layer("stem").conv.kernel)
    np.testing.assert_array_equal(found[:, :, :3], kernel)
    np.testing.assert_allclose(found[:, :, 3], kernel.mean(2), atol=1e-7)


def test_a_classifier_without_a_bias_is_left_alone(nano, capsys):
    base = nano(include_top=False, pooling="avg")
    head = keras.layers.Dense(10, use_bias=False, name="predictions")
    model = keras.Model(base.input, head(base.output))
    gcvit_keras.load_weights(model, REFERENCE / "official_nano.safetensors")
    assert "without its classifier" in capsys.readouterr().err


def test_a_model_around_a_gc_vit_is_refused(nano):
    inputs = keras.Input((224, 224, 3))
    outer = keras.Model(inputs, nano(name="inner")(inputs), name="outer")
    with pytest.raises(ValueError, match="'outer' has no layers of GC ViT"):
        gcvit_keras.load_weights(outer, REFERENCE / "official_nano.safetensors")


def test_two_channels_are_refused(nano):
    with pytest.raises(ValueError, match=r"patch_embed.proj.weight: \(16, 3"):
        nano(
            input_shape=(224, 224, 2),
            weights=REFERENCE / "official_nano.safetensors",
        )


def test_what_is_said_goes_to_the_log_where_that_is_asked_for(
    nano, capsys, caplog
):
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", "gcvit_keras"):
            nano(classes=7, weights=REFERENCE / "official_nano.safetensors")
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().err == ""
    assert "of 7, is untrained" in caplog.text


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
    with pytest.raises(ValueError, match="no key in it ends in `patch_embed"):
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


def test_names_of_both_schemes():
    path = "level_1_downsample/fused_mbconv/squeeze_excite/expand/kernel"
    assert checkpoint_key(path, "official") == (
        "levels.1.downsample.conv.2.fc.2.weight"
    )
    assert checkpoint_key(path, "timm") == (
        "stages.2.downsample.conv_block.se.fc2.weight"
    )
