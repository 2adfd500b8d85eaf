"""`gcvit train` and `gcvit evaluate`."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from command import gcvit, inside, refused
from PIL import Image

from gcvit_export import export_litert, export_saved_model
from gcvit_training import read_config

PART = "test[:80]"
SMALL = (
    *("--set", "epochs=2", "--set", "optimizer.warmup_epochs=0"),
    *("--set", "data.train_split=train[:320]"),
    *("--set", f"data.evaluation_split={PART}"),
    *("--set", "data.batch_size=64", "--set", "model.embed_dim=8"),
    *("--set", "model.depths=[1, 1, 1, 1]"),
    *("--set", "model.num_heads=[1, 1, 1, 1]"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, and what it printed as JSON."""
    folder = tmp_path_factory.mktemp("train")
    code, output, errors = gcvit(
        "train", "digits", "--out", "run", "--json", *SMALL, cwd=folder
    )
    assert code == 0, errors
    return folder / "run", json.loads(output)


def test_train_writes_the_run_and_its_report(run):
    folder, result = run
    config = read_config(folder / "config.yaml")
    assert result["config"] == config.model_dump(mode="json")
    assert config.epochs == 2 and config.model.embed_dim == 8
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name in ("loss", "val_accuracy", "learning_rate", "images_per_second"):
        assert float(rows[1][name]) >= 0
    assert result["images"] == 80
    accuracy = float(rows[1]["val_accuracy"])
    assert result["accuracy"] == pytest.approx(accuracy)
    assert (folder / "labels.txt").read_text().split() == list("0123456789")
    report = (folder / "report.md").read_text()
    assert f"| top-1 | {accuracy:.2%} |" in report
    for name in ("curves.png", "confusion.png"):
        assert f"({name})" in report
        with Image.open(folder / name) as image:
            image.verify()


def test_evaluate_gives_the_same_for_every_artifact(run, tmp_path):
    folder, result = run
    model = keras.models.load_model(folder / "model.keras")
    shutil.copy(folder / "model.keras", tmp_path / "m.keras")
    export_saved_model(model, tmp_path / "saved", verify=False)
    export_litert(model, tmp_path / "m.tflite", verify=False)
    data = folder / "data"
    expected = result["evaluation"]
    for artifact in ("m.keras", "saved", "m.tflite"):
        code, output, errors = inside(
            *("evaluate", artifact, "--data", "digits", "--data-dir", data),
            *("--split", PART, "--json", "--out", f"out-{artifact}"),
            cwd=tmp_path,
        )
        assert code == 0, errors
        found = json.loads(output)
        assert found["top1"] == expected["top1"]
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert found["per_class"] == expected["per_class"]
        kept = tmp_path / f"out-{artifact}" / "evaluation.json"
        assert json.loads(kept.read_text()) == found
        with Image.open(kept.with_name("confusion.png")) as image:
            image.verify()


def test_evaluate_takes_a_runs_own_data(run):
    folder, result = run
    code, output, errors = inside("evaluate", "run", cwd=folder.parent)
    assert (code, errors) == (0, "")
    assert f"{result['accuracy']:.2%}" in output
    assert "Wrote run/evaluation.json and its pictures." in output


def test_train_looks_at_the_data_only(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("cat", 6), ("dog", 4)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (30 + i, 40, 3), "uint8")
            image = Image.fromarray(pixels)
            exif = image.getexif()
            exif[0x0112] = 6 if name == "dog" else 1
            image.save(tmp_path / "photos" / name / f"{i}.jpg", exif=exif)
    (tmp_path / "photos" / "cat" / "2.jpg").write_text("no image")
    data = ("--set", "data.dataset=photos", "--set", "data.holdout=0.25")
    small = ("--set", "data.batch_size=4", "--set", "data.image_size=32")
    code, output, errors = inside(
        *("train", "finetune", "--check-data", "--preview", "grid.png"),
        *("--json", *data, *small),
        cwd=tmp_path,
    )
    assert code == 1
    assert "1 of 7 images of 'train' cannot be used: more than" in errors
    found = json.loads(output)
    assert found["train"]["images"] + found["test"]["images"] == 10
    assert found["train"]["classes"] == {"cat": 4, "dog": 3}
    assert found["test"]["classes"] == {"cat": 2, "dog": 1}
    assert found["train"]["rotated"] + found["test"]["rotated"] == 4
    assert found["train"]["least_size"] == [30, 40]
    (broken,) = found["train"]["broken"] + found["test"]["broken"]
    assert broken["image"].endswith("photos/cat/2.jpg")
    assert "no JPEG, PNG, WebP or BMP" in broken["reason"]
    with Image.open(tmp_path / "grid.png") as image:
        assert image.width > 300
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.png", "photos"]
    check = ("train", "finetune", "--check-data", *data, *small)
    share = ("--set", "data.broken_share=0.5")
    code, output, errors = inside(*check, *share, cwd=tmp_path)
    assert code == 1 and "1 images cannot be used" in output
    assert "a run goes on without them" in errors
    (tmp_path / "photos" / "cat" / "2.jpg").unlink()
    code, output, errors = inside(*check, cwd=tmp_path)
    assert (code, errors) == (0, "") and "0 images cannot be used" in output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("nothing",), "none of the recipes ['cascade_mask_rcnn', 'detection"),
        (
            ("digits", "--set", "epoch=3"),
            "epoch is not a field; did you mean epochs?",
        ),
        (("digits", "--set", "epochs"), "must be section.field=value"),
        (("digits", "--out", "file"), "error: --out cannot be written: file"),
        (
            ("digits", "--out", "."),
            "error: --out is not empty",
        ),
        (("finetune",), "must be digits, a name that TFDS knows or a folder"),
    ],
)
def test_train_refuses_in_one_line_before_it_starts(tmp_path, arguments, words):
    (tmp_path / "file").write_text("")
    if "--out" not in arguments:
        arguments = (*arguments, "--out", "run")
    assert words in refused("train", *arguments, cwd=tmp_path)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_train_needs_a_folder(tmp_path):
    line = refused("train", "digits", cwd=tmp_path, code=2)
    assert line == "error: --out is missing"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("none.keras", "--data", "digits"), "none.keras: no such model"),
        (("run", "--split", "tset"), "`--split` must be one of"),
        (
            ("run", "--size", "40"),
            "--size must be the 32 x 32 of run/model.keras",
        ),
        (("run", "--data", "./x"), "`data.dataset` is no folder: ./x"),
        (
            ("run/data", "--data", "digits"),
            "neither a .keras, .tflite or .onnx",
        ),
    ],
)
def test_evaluate_refuses_in_one_line(run, arguments, words):
    folder, _ = run
    assert words in refused("evaluate", *arguments, cwd=folder.parent)


def test_evaluate_needs_data_for_what_is_no_run(run):
    folder, _ = run
    line = refused("evaluate", "run/model.keras", cwd=folder.parent, code=2)
    assert line.startswith("error: --data is missing")
