"""What Keras's own applications_test.py asks, for all eight constructors."""

import inspect
import re
from pathlib import Path

import keras
import pytest

import gcvit_keras
from gcvit_keras import VARIANTS
from gcvit_keras.models.constructors import CONSTRUCTORS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_is_a_keras_application(variant):
    model = CONSTRUCTORS[variant](weights=None)
    assert model.count_params() == VARIANTS[variant].parameters
    assert model.input_shape == (None, 224, 224, 3)
    assert model.layers[-1].activation.__name__ == "softmax"


def test_a_variant_is_rebuilt_from_its_configuration():
    # The smallest: that of all variants is made by the same lines.
    model = gcvit_keras.GCViTXXTiny(weights=None)
    config = keras.saving.serialize_keras_object(model)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert [w.shape for w in rebuilt.weights] == [
        w.shape for w in model.weights
    ]


def test_what_the_top_is_not_on_takes_any_input():
    # Of the smallest variant: what differs between them is in the test above.
    last_dim = VARIANTS["xxtiny"].embed_dim * 8

    def notop(**kwargs):
        return gcvit_keras.GCViTXXTiny(
            weights=None, include_top=False, **kwargs
        )

    for channels in (1, 4):
        model = notop(input_shape=(None, None, channels))
        assert model.output_shape == (None, None, None, last_dim)
    assert notop(input_shape=(123, 123, 3)).output_shape == (
        None,
        4,
        4,
        last_dim,
    )
    custom = keras.layers.Conv2D(3, 2, strides=2)(keras.Input((200, 200, 4)))
    assert notop(input_tensor=custom).output_shape[-1] == last_dim
    assert notop(pooling="max").output_shape == (None, last_dim)


@pytest.mark.parametrize("variant", VARIANTS)
def test_constructor_takes_the_arguments_of_keras_convnext_in_its_order(
    variant,
):
    convnext = inspect.signature(keras.applications.ConvNeXtTiny).parameters
    ours = inspect.signature(CONSTRUCTORS[variant]).parameters
    assert list(ours)[: len(convnext)] == list(convnext)
    for name in set(convnext) - {"name"}:
        assert ours[name].default == convnext[name].default
    assert ours["name"].default == f"gcvit_{variant}"
    assert [
        name
        for name, p in ours.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ] == ["drop_path_rate", "window_size"]


def test_every_variants_constructor_is_public_and_documented():
    pages = [ROOT / "README.md", ROOT / "docs" / "api" / "models.md"]
    pages = [page.read_text() for page in pages]
    table = (ROOT / "docs" / "architecture.md").read_text()
    for name, build in CONSTRUCTORS.items():
        assert build.__name__.lower() == f"gcvit{name}"
        assert getattr(gcvit_keras, build.__name__) is build
        assert build.__name__ in gcvit_keras.__all__
        for page in pages:
            assert re.search(rf"\b{build.__name__}\b", page)
        assert f"| {name} |" in table


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_constructors_help_names_its_variants_facts_and_arguments(variant):
    build, facts = CONSTRUCTORS[variant], VARIANTS[variant]
    text = inspect.getdoc(build)
    million = f"{facts.parameters / 1e6:.1f} M parameters"
    assert text.startswith(
        f"GC ViT {variant}: {million}, {facts.top1}% published top-1."
    )
    assert f"Default: {facts.drop_path_rate}." in text
    for argument in inspect.signature(build).parameters:
        assert f"    {argument}: " in text
    # As `def`s: an editor finds where each is written.
    line = inspect.getsource(build).splitlines()[0]
    assert line == f"def {build.__name__}("


def test_a_name_of_no_preset_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="'imagenet'.*for GC ViT xxtiny"):
        gcvit_keras.GCViTXXTiny(weights="imagenet_21k")


def test_everything_public_is_importable_from_the_package():
    for name in gcvit_keras.__all__:
        assert getattr(gcvit_keras, name).__doc__


def test_layers_are_named_for_freezing_and_feature_extraction(nano):
    names = [layer.name for layer in nano(depths=(1, 2, 3, 2)).layers]
    assert sorted(names) == sorted(
        ["images", "preprocessing", "stem", "norm", "pool", "predictions"]
        + [f"level_{i}_query" for i in (1, 2, 3)]
        + [f"level_{i}_downsample" for i in (0, 1, 2)]
        + ["level_0_block_0", "level_1_block_0", "level_1_block_1"]
        + ["level_2_block_0", "level_2_block_1", "level_2_block_2"]
        + ["level_3_block_0", "level_3_block_1"]
    )


def test_preprocess_input_is_the_identity(images):
    x = images(1, 8, 8, 3)
    assert gcvit_keras.preprocess_input(x) is x


def test_decode_predictions_rejects_other_than_1000_classes(images):
    with pytest.raises(ValueError, match="1000"):
        gcvit_keras.decode_predictions(images(2, 10))
