"""Runs on images that are neither square nor of three channels."""

import json

import keras
import numpy as np
import pytest
from command import inside
from PIL import Image

from gcvit_training import read_config, train
from gcvit_training.data import training_batches
from gcvit_training.tasks import open_task

SETTINGS = {
    "data.image_size": "[32, 64]",
    "data.channels": "1",
    "data.batch_size": "8",
    "model.embed_dim": "8",
    "model.depths": "[1, 2, 1, 1]",
    "model.num_heads": "[1, 1, 1, 1]",
    "model.window_size": "null",
    "epochs": "10",
    "optimizer.warmup_epochs": "0",
    "optimizer.learning_rate": "3e-3",
}

VARIED = {
    "augment.crop_scale": "[0.8, 1]",
    "augment.rand_augment_layers": "2",
    "augment.erasing": "0.5",
    "augment.mixup": "0.5",
    "augment.cutmix": "0.5",
}
"""All that looks at an image's sides or channels."""


def recipe(folder, **others):
    settings = {**SETTINGS, "data.dataset": str(folder), **others}
    return read_config("digits", [f"{k}={v}" for k, v in settings.items()])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A bright bar at the left or right end of a wide photograph."""
    folder = tmp_path_factory.mktemp("bars") / "photos"
    rng = np.random.default_rng(0)
    for name, start in (("left", 4), ("right", 76)):
        (folder / name).mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 60, (48, 96, 3), "uint8")
            first = start + rng.integers(-4, 5)
            pixels[:, first : first + 16] = 220
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos):
    """A run on wide grey images."""
    folder = photos.parent / "run"
    train(recipe(photos), folder, verbose=0)
    return folder


def test_wide_grey_images_are_learnt_and_seen_whole(run, photos):
    model = keras.models.load_model(run / "model.keras")
    assert model.input_shape == (None, 32, 64, 1)
    windows = [
        model.get_layer(f"level_{i}_block_0").window_size for i in range(4)
    ]
    assert windows == [(1, 2), (1, 2), (2, 4), (1, 2)]
    # A square crop of the middle would show no bar.
    code, output, _ = inside("evaluate", run, "--json", cwd=photos.parent)
    assert code == 0 and json.loads(output)["top1"] > 0.8


def test_commands_read_files_as_the_run_did(run, photos):
    files = [f"photos/left/{i}.png" for i in range(4)]
    code, output, _ = inside(
        *("predict", *files, "--model", run, "--json"), cwd=photos.parent
    )
    assert code == 0
    model = keras.models.load_model(run / "model.keras")
    grey = [Image.open(photos.parent / file).convert("L") for file in files]
    pixels = [
        np.asarray(x.resize((64, 32), Image.Resampling.BICUBIC)) for x in grey
    ]
    expected = model.predict(np.stack(pixels)[..., None], verbose=0)[:, 0]
    for found, score in zip(json.loads(output), expected, strict=True):
        best = found["classes"][0]
        assert best["label"] == "left"
        assert best["score"] == pytest.approx(score, abs=1e-5)


def test_every_augmentation_keeps_the_shape(photos):
    batches = training_batches(open_task(recipe(photos, **VARIED)))
    images, _ = next(iter(batches))
    assert images.shape == (8, 32, 64, 1)
    assert 0 <= np.min(images) < 60 and 100 < np.max(images) <= 255


def test_a_run_goes_on_from_a_model_of_its_own_shape_only(run, photos):
    base = {"model": f"{{weights: {run / 'model.keras'}}}"}
    config = recipe(photos, **base, **{"data.channels": "3"})
    with pytest.raises(ValueError, match=r"\(32, 64, 1\). Received: .*64, 3"):
        train(config, photos.parent / "other", verbose=0)


@pytest.mark.parametrize("size", ["0", "[32]", "[32, 32, 3]", "[32, -1]", "x"])
def test_what_is_no_size_is_refused(photos, size):
    words = r"data.image_size: must be a positive integer or \[height, width\]"
    with pytest.raises(ValueError, match=words):
        recipe(photos, **{"data.image_size": size})
