"""Every task goes through the same engine."""

import json

import composites
import keras
import numpy as np
import pytest
import scenes
import tensorflow as tf
from autoencoder import stripes
from command import inside
from harness import goes_through, metrics
from recipe import small

from gcvit_keras import ImageReader
from gcvit_training import read_config, train
from gcvit_training.tasks import find_task, open_task

EXACT = ("deterministic=true", "optimizer.ema=0.9", "checkpoint_steps=2")


def test_an_autoencoder_goes_through_an_engine_that_does_not_know_it(tmp_path):
    config = stripes(*EXACT, "width=5")
    out, model, result = goes_through(
        config, tmp_path, module="autoencoder", kill_at=(6, "evaluation")
    )
    rows = metrics(out)
    names = {"epoch", "learning_rate", "loss", "pixels", "codes", "val_error"}
    assert set(rows[0]) == names
    for row in rows:
        assert float(row["loss"]) == pytest.approx(
            float(row["pixels"]) + float(row["codes"]), rel=1e-5
        )
    # The report and the last epoch's validation are one evaluator's.
    assert result["images"] == 16
    assert float(rows[-1]["val_error"]) == pytest.approx(
        result["error"], rel=1e-5
    )
    assert result["error"] < float(rows[0]["val_error"])
    # Exported by Keras's own means.
    model.export(tmp_path / "exported", verbose=False)
    images = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
    exported = tf.saved_model.load(tmp_path / "exported")
    served = exported.serve({"images": images})
    np.testing.assert_allclose(
        served, model.predict({"images": images}, verbose=0), atol=1e-5
    )


def test_a_task_may_have_nothing_to_show_or_to_check():
    task = find_task("autoencoder")(stripes(), None)
    for name, method in (
        ("check_data", task.check_data),
        ("preview", task.preview),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` is not for the task"):
            method()


@pytest.mark.slow
def test_a_classifier_goes_through(data_dir, digits, tmp_path):
    out, model, result = goes_through(small(*EXACT), tmp_path, data_dir)
    assert model.output_shape == (None, 10)
    labels = (out / "labels.txt").read_text().splitlines()
    assert labels == list(digits.names)
    assert ImageReader.of(out) == small().data.image_reader
    rows = metrics(out)
    # One number: cross-entropy without label smoothing.
    assert float(rows[-1]["val_loss"]) == pytest.approx(
        result["loss"], rel=1e-5
    )
    assert float(rows[-1]["val_accuracy"]) == pytest.approx(result["top1"])
    page = (out / "report.md").read_text()
    assert f"{result['loss']:.4f}" in page and "label smoothing" in page


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"`task` must be one of \[.*'classif"):
        find_task("origami")
    with pytest.raises(ValueError, match="Received: task='origami'"):
        read_config("digits", ["task=origami"])


def test_a_task_without_a_head_of_its_own_cannot_freeze():
    config = stripes("optimizer.freeze_epochs=1")
    task = find_task("autoencoder")(config, None)
    with pytest.raises(ValueError, match="freeze_epochs` must be 0"):
        task.frozen(keras.Sequential())


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_classes_of_one_name_are_refused(tmp_path, task):
    if task == "detection":
        composites.write(tmp_path, {"train": 2, "val": 1})
        for file in tmp_path.glob("annotations/*.json"):
            told = json.loads(file.read_text())
            for category in told["categories"]:
                category["name"] = "thing"
            file.write_text(json.dumps(told))
    else:
        scenes.write(tmp_path, {"train": 2, "val": 1}, side=32)
        (tmp_path / "labels.txt").write_text("sky\nthing\nthing\nsun\n")
    settings = ["data.evaluation_split=val", f"data.dataset={tmp_path}"]
    config = read_config(f"{task}_finetune", settings)
    with pytest.raises(ValueError, match="are called \\['thing'\\]"):
        open_task(config)


def test_an_empty_class_named_as_another_is_left_out(tmp_path):
    composites.write(tmp_path, {"train": 4, "val": 2})
    for file in tmp_path.glob("annotations/*.json"):
        told = json.loads(file.read_text())
        told["categories"].insert(0, {"id": 0, "name": "4"})
        file.write_text(json.dumps(told))
    settings = ["data.evaluation_split=val", f"data.dataset={tmp_path}"]
    task = open_task(read_config("detection_finetune", settings))
    assert sorted(task.names) == ["0", "1", "4"]
    assert 0 not in task.source.categories


def test_a_task_without_names_is_measured_by_the_command(tmp_path):
    train(stripes("epochs=1"), tmp_path / "run", verbose=0)
    code, output, errors = inside(
        *("evaluate", tmp_path / "run", "--json"), cwd=tmp_path
    )
    assert code == 0, errors
    measured = json.loads(output)
    assert measured["images"] == 16 and measured["labels"] == []
