"""Configurations: recipes, overrides, and what is refused."""

import pytest
from recipe import small

from gcvit_keras.variants import VARIANTS
from gcvit_training import read_config, write_config

TINY = ("imagenet", ["model.variant=tiny"])


@pytest.mark.parametrize(
    "override, words",
    [
        ("epochs=0", "epochs: Input should be greater than 0. Received: 0"),
        ("epochs=many", "epochs: Input should be a valid integer"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: .*: -1"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: .*finite"),
        ("label_smoothing=1.5", "label_smoothing: .* less than 1"),
        ("data.batchsize=3", "data.batchsize is not a.*mean data.batch_size"),
        ("optimizer.warmup_epochs=20", "must together be below `epochs`.*=20"),
        ("optimizer.freeze_epochs=21", "freeze_epochs` must be at most"),
        ("optimizer.final_learning_rate=1", "must be at most `optimizer.lea"),
        ("optimizer.accumulate=3", "multiple of `optimizer.accumulate`"),
        ("model.depths=[1, 2]", r"model.depths.2: Field required.*1 more"),
        ("model=3", "model: Input should be a valid dict"),
        ("model={}", "`model` must have `variant`, or `embed_dim`"),
        ("model={embed_dim: 8}", "`model.depths` is missing"),
        ("model.variant=tiny", "`model.variant` fixes embed_dim"),
        ("model.variant=huge", "model.variant: Input should be 'xxtiny'"),
        ("augment.crop_scale=[1, 0.5]", "augment.crop_scale: must be two"),
        ("augment.crop_scale=[0, 1]", "augment.crop_scale.0: .* than 0"),
        ("precision=float17", "precision: Input should be 'float32'"),
        ("profile=[5, 2]", "`profile` must be the first and the last step"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("epochs.x=3", "epochs.x is not a field"),
        ("epochs", "must be section.field=value.*Received: 'epochs'"),
        ("epochs=[", "must be section.field=value"),
    ],
)
def test_impossible_configurations_are_refused_in_one_line(override, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        read_config("digits", [override])


def test_an_odd_batch_cannot_be_mixed():
    with pytest.raises(ValueError, match="batch_size` must be even"):
        small("data.batch_size=65", "augment.mixup=0.8")


def test_a_configuration_is_read_as_it_was_written(tmp_path):
    config = small("augment.crop_scale=[0.5, 1]", "profile=[2, 3]")
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_numbers_may_be_written_as_people_write_them():
    # YAML 1.1 takes 1e-3 for a string.
    config = small("optimizer.learning_rate=1e-3", "data.shuffle_buffer=7")
    assert config.optimizer.learning_rate == 1e-3
    assert config.data.shuffle_buffer == 7


@pytest.mark.parametrize(
    "text, words",
    [
        (None, r"none of the recipes \[.*'digits', 'finetune', 'imagenet', '"),
        ("a: [", "x.yaml is not YAML"),
        ("text", "x.yaml must be a mapping"),
        ("", "x.yaml must be a mapping"),
        ("epochs: 3", "x.yaml: data: Field required.*2 more"),
    ],
)
def test_files_that_are_no_configuration_are_refused(tmp_path, text, words):
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        read_config(tmp_path / "x.yaml")


def test_the_imagenet_recipe_is_the_published_configuration():
    config = read_config("imagenet")
    o, a = config.optimizer, config.augment
    assert (o.learning_rate, o.reference_batch_size) == (5e-3, 4096)
    assert (o.final_learning_rate, o.weight_decay) == (5e-6, 0.05)
    assert (config.epochs, o.warmup_epochs, o.cooldown_epochs) == (310, 20, 10)
    assert (o.gradient_norm, o.ema, config.label_smoothing) == (5, 0.9998, 0.1)
    assert (a.rand_augment_layers, a.rand_augment_magnitude) == (2, 9)
    assert (a.mixup, a.cutmix, a.erasing, a.flip) == (0.8, 1.0, 0.25, 0.5)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_sets_its_drop_path_and_evaluation_crop(name):
    config = read_config("imagenet", [f"model.variant={name}"])
    assert config.model.drop_path_rate == VARIANTS[name].drop_path_rate
    assert config.data.crop_ratio == VARIANTS[name].crop_ratio


def test_a_preset_sets_how_images_are_read_and_the_user_overrides_it():
    large = ["model.variant=large", "model.weights=nvidia_21k_512"]
    config = read_config("finetune", large)
    assert config.data.crop_mode == "squash"
    config = read_config("finetune", [*large, "data.crop_mode=center"])
    assert config.data.crop_mode == "center"
