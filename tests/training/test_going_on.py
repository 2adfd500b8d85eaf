"""Runs that go on: with their own data, after kills, with what was left."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from autoencoder import Images, stripes
from harness import metrics
from PIL import Image
from recipe import small
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_fit import At, Death, die, quiet

from gcvit_training import TrainingError, write_report
from gcvit_training.run_folder import RunFolder


@pytest.fixture
def photos(tmp_path):
    """Four images of each of two classes, in both splits."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 256, (32, 32, 3), "uint8")
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "photos"


def of_photos(photos, *overrides):
    return small(
        f"data.dataset={photos}",
        "data.image_size=32",
        "data.batch_size=4",
        "augment={}",
        *overrides,
    )


def rename(photos, old, new):
    for split in ("train", "test"):
        (photos / split / old).rename(photos / split / new)


def test_a_run_goes_on_with_the_classes_it_was_begun_with(photos, tmp_path):
    config, out = of_photos(photos, "checkpoint_steps=1"), tmp_path / "run"
    with pytest.raises(Death):
        quiet(config, out, None, callbacks=[At(2, die)])
    rename(photos, "cat", "zebra")
    words = "classes gone: 'cat'; new ones: 'zebra'. Put the data back"
    with pytest.raises(ValueError, match=words):
        quiet(config, out, None)
    for split in ("train", "test"):
        shutil.copytree(photos / split / "zebra", photos / split / "cat")
    with pytest.raises(ValueError, match="other data: new ones: 'zebra'"):
        quiet(config, out, None)
    for split in ("train", "test"):
        shutil.rmtree(photos / split / "zebra")
    said = []

    def report(line):  # is enough, and comes before the step is traced
        said.append(line)
        die()

    with pytest.raises(Death):
        quiet(config, out, None, report=report)
    assert said[0].startswith("Going on from step 1")


def without_facts_of_the_data(path):
    """A checkpoint as older versions wrote it."""
    with safe_open(path, "np") as file:
        facts = json.loads(file.metadata()["facts"])
    facts = {k: facts[k] for k in ("step", "rows", "stopped", "epochs")}
    save_file(load_file(path), path, {"facts": json.dumps(facts)})


def test_a_run_goes_on_with_as_many_steps_per_epoch(tmp_path, monkeypatch):
    quiet(stripes(), tmp_path, None)
    monkeypatch.setitem(Images.splits, "train", (0, 40))
    with pytest.raises(ValueError, match="an epoch has 5 steps, and had 4"):
        quiet(stripes("epochs=6"), tmp_path, None)
    # What was refused left no trace, and older checkpoints do not say.
    quiet_config = (tmp_path / "config.yaml").read_text()
    assert "epochs: 3" in quiet_config
    for path in RunFolder(tmp_path).saved():
        without_facts_of_the_data(path)
    quiet(stripes("epochs=6"), tmp_path, None)
    assert (tmp_path / "model.keras").is_file()


def test_an_epoch_that_was_cut_short_has_one_row(tmp_path):
    def stop():
        at.model.stop_training = True

    at = At(6, stop)
    quiet(stripes("epochs=4"), tmp_path, None, callbacks=[at])
    page = tmp_path / "report.md"
    write_report(stripes("epochs=4"), tmp_path)
    assert "- 2 of 4 epochs in batches of 8" in page.read_text()
    quiet(stripes("epochs=5"), tmp_path, None)
    assert [row["epoch"] for row in metrics(tmp_path)] == list("01234")
    write_report(stripes("epochs=5"), tmp_path)
    assert "- 5 epochs in batches of 8" in page.read_text()


def test_a_first_epoch_cut_short_after_its_best_model_may_be_trained_again(
    tmp_path, monkeypatch
):
    config = stripes("best_metric=val_error", "best_mode=min")

    def fail(*_):
        raise Death

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(RunFolder, "save", fail)
        quiet(config, tmp_path, None)
    assert (tmp_path / "best.keras").is_file()
    # Not the best of what comes now, which keeps none.
    quiet(stripes("epochs=1"), tmp_path, None)
    assert not (tmp_path / "best.keras").exists()


def test_a_damaged_checkpoint_is_not_kept_in_place_of_new_ones(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save(9, {"a": np.ones(9)}, {}, 1)
    (damaged,) = folder.saved()
    damaged.write_bytes(b"")
    folder = RunFolder(tmp_path)
    assert folder.last() is None
    folder.save(5, {"a": np.ones(9)}, {"n": 5}, 1)
    assert folder.last()[1] == {"n": 5}


def test_the_only_checkpoint_damaged_begins_the_run_anew(tmp_path):
    quiet(stripes("keep_checkpoints=1"), tmp_path, None)
    (path,) = RunFolder(tmp_path).saved()
    path.write_bytes(b"")
    said = []
    quiet(stripes("keep_checkpoints=1"), tmp_path, None, report=said.append)
    assert said == [f"{path} cannot be read: the run begins anew"]
    assert RunFolder(tmp_path).last()[1]["step"] == 12


def test_a_run_leaves_alone_what_others_are_writing_in_its_folder(tmp_path):
    quiet(stripes(), tmp_path, None)
    export = tmp_path / ".writing-export"
    data = tmp_path / "data" / ".writing-0.jpg"
    for path in (export / "1", data.parent):
        path.mkdir(parents=True)
    data.write_bytes(b"half")
    quiet(stripes(), tmp_path, None)
    assert export.is_dir() and data.is_file()


def test_an_error_of_a_folder_beside_the_run_speaks_for_itself(tmp_path):
    beside = str(tmp_path / "run2" / "photo.jpg")

    def fail():
        open(beside)

    with pytest.raises(FileNotFoundError, match="run2/photo.jpg"):
        quiet(stripes(), tmp_path / "run", None, callbacks=[At(1, fail)])


def test_an_eager_error_of_tensorflow_says_its_reason(tmp_path):
    def fail():
        tf.io.read_file("/nowhere.jpg")

    with pytest.raises(TrainingError, match="stopped: /nowhere.jpg; No such"):
        quiet(stripes(), tmp_path, None, callbacks=[At(1, fail)])


def test_unreadable_images_count_against_their_own_split(tmp_path, monkeypatch):
    # The first two of the 16 images of evaluation; 2 of 32 would be allowed.
    load = Images.load

    def load_but_two(self, example):
        number = example["number"]
        readable = tf.debugging.assert_equal(
            (number == 32) | (number == 33), False
        )
        with tf.control_dependencies([readable]):
            return load(self, example)

    monkeypatch.setattr(Images, "load", load_but_two)
    config = stripes("data.broken_share=0.1", "epochs=1")
    words = "2 images cannot.* 0.1 of 16: 32, 33, .*/broken_evaluation_images"
    with pytest.raises(TrainingError, match=words):
        quiet(config, tmp_path / "few", None)
    said = []
    config = stripes("data.broken_share=0.2", "epochs=1")
    quiet(config, tmp_path / "many", None, report=said.append)
    assert said == [
        "2 images cannot be read, and are left out: "
        f"{tmp_path}/many/broken_evaluation_images.txt"
    ]


def test_one_image_per_replica_cannot_be_replaced_which_a_run_says(tmp_path):
    said = []
    config = stripes("data.batch_size=1", "unreadable=1", "epochs=1")
    with pytest.raises(TrainingError, match="or choose a larger `data.batch_s"):
        quiet(config, tmp_path, None, report=said.append)
    assert said[0].startswith("A replica has one example per step, which")
