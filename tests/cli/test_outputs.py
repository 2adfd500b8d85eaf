"""Commands and what models give: logits, one score, names, fixed sizes."""

import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from command import inside, refused
from nano import SHALLOW
from PIL import Image

import gcvit_keras
from gcvit_export import export_litert, export_onnx, export_saved_model
from gcvit_export.samples import photographs

sys.path.append(str(Path(__file__).parent.parent / "segmentation"))
from segmenters import small  # noqa: E402

SIDE = 64


def dense(units, activation=None, scale=0.05):
    """A model of the mean colour: what it finds is not the point."""
    images = keras.Input((SIDE, SIDE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    logits = keras.layers.Dense(units, activation, name="logits")
    model = keras.Model(images, logits(mean))
    kernel = scale * np.random.default_rng(0).normal(size=(3, units))
    logits.kernel.assign(kernel)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of models, exports of them, and an image."""
    folder = tmp_path_factory.mktemp("outputs")
    pixels = photographs(SIDE, SIDE, count=1)[0].astype("uint8")
    Image.fromarray(pixels).save(folder / "a.png")
    model = dense(10)
    model.save(folder / "logits.keras")
    how = {"activation": None, "verify": False}
    export_saved_model(model, folder / "saved", **how)
    export_litert(model, folder / "logits.tflite", **how)
    export_onnx(model, folder / "logits.onnx", **how)
    fixed = small(4, backbone={"input_shape": (SIDE, SIDE, 3)})
    fixed.save(folder / "fixed.keras")
    export_saved_model(fixed, folder / "fixed", verify=False)
    export_onnx(fixed, folder / "fixed.onnx", verify=False)
    return folder


def predict(place, *arguments):
    code, output, errors = inside("predict", *arguments, cwd=place)
    assert code == 0, errors
    return output


def pixels_of(place):
    return np.asarray(Image.open(place / "a.png"))[None].astype("float32")


@pytest.mark.parametrize("file", ["saved", "logits.tflite", "logits.onnx"])
def test_a_classifier_may_have_an_output_called_logits(place, file):
    output = predict(place, "a.png", "--model", file, "--json")
    (row,) = json.loads(output)
    (scores,) = np.asarray(dense(10)(pixels_of(place)))
    for one in row["classes"]:
        assert one["score"] == pytest.approx(scores[one["class"]], abs=1e-3)
    output = predict(place, "a.png", "--model", file)
    assert f"{scores.max():.3f}" in output and "%" not in output


def test_scores_of_a_layer_without_activation_are_no_percentages(place):
    output = predict(place, "a.png", "--model", "logits.keras", "--json")
    (row,) = json.loads(output)
    (scores,) = np.asarray(dense(10)(pixels_of(place)))
    for one in row["classes"]:
        assert one["score"] == pytest.approx(scores[one["class"]], abs=1e-5)
    output = predict(place, "a.png", "--model", "logits.keras")
    assert f"{scores.max():.3f}" in output and "%" not in output


@pytest.mark.parametrize("file", ["fixed", "fixed.onnx"])
def test_exports_of_a_segmenter_of_a_fixed_size_are_asked(place, file):
    output = predict(place, "a.png", "--model", file, "--json")
    (row,) = json.loads(output)
    assert row["size"] == [SIDE, SIDE]
    assert sum(one["share"] for one in row["classes"]) == pytest.approx(1)


def test_the_command_exports_a_segmenter_of_a_fixed_size(place, tmp_path):
    model = place / "fixed.keras"
    arguments = ("export", model, "--format", "savedmodel", "--out", "out")
    line = refused(*arguments, "--max-pixels", 9, cwd=tmp_path, code=2)
    assert "are of no use: files, of any size, do not go with" in line
    code, _, errors = inside(*arguments, cwd=tmp_path)
    assert code == 0, errors


def test_an_image_that_is_too_large_does_not_stop_the_others(place, tmp_path):
    # Over twice Pillow's own limit it raises an error of its own.
    for name, side in (("a", 8), ("b", 20_000), ("c", 8)):
        Image.new("1", (side, side)).save(tmp_path / f"{name}.png")
    code, output, errors = inside(
        "predict", tmp_path, "--model", "logits.keras", "--json", cwd=place
    )
    assert code == 1
    (line,) = errors.splitlines()
    assert line.startswith("error: ") and "b.png" in line
    names = [Path(row["image"]).name for row in json.loads(output)]
    assert names == ["a.png", "c.png"]


def test_data_must_be_named(place):
    line = refused("evaluate", "logits.keras", "--data", "", cwd=place, code=2)
    assert line == "error: --data is empty"


@pytest.mark.parametrize("names", ["yes\n", "no\nyes\n"])
def test_a_single_score_has_one_name_or_two(place, tmp_path, names):
    """Of two the second is that of the score itself, as explain shows it."""
    dense(1, "sigmoid").save(tmp_path / "one.keras")
    (tmp_path / "labels.txt").write_text(names)
    arguments = (place / "a.png", "--model", "one.keras", "--json")
    ((one,),) = [
        row["classes"] for row in json.loads(predict(tmp_path, *arguments))
    ]
    assert one["label"] == "yes"
    code, _, errors = inside(
        *("export", "one.keras", "--format", "savedmodel", "--out", "saved"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    labels = tmp_path / "saved" / "1" / "assets" / "labels.txt"
    assert labels.read_text() == "yes\n"


def test_explain_takes_one_name_of_a_single_score(place, tmp_path):
    how = {**SHALLOW, "classes": 1, "classifier_activation": "sigmoid"}
    gcvit_keras.GCViT(**how).save(tmp_path / "one.keras")
    (tmp_path / "labels.txt").write_text("yes\n")
    code, _, errors = inside(
        *("explain", place / "a.png", "--model", "one.keras"),
        *("--out", "page.html"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    page = (tmp_path / "page.html").read_text()
    assert ">yes<" in page and ">not yes<" in page


def test_names_inside_of_a_file_are_counted(place, tmp_path):
    path = export_litert(
        dense(4, "softmax"), tmp_path / "m.tflite", verify=False
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    arguments = ("predict", place / "a.png", "--model", "m.tflite", "--json")
    code, output, errors = inside(*arguments, cwd=tmp_path)
    assert code == 0
    assert errors == "note: m.tflite has 2 labels for 4 classes: not used\n"
    (row,) = json.loads(output)
    assert {one["label"] for one in row["classes"]} == {
        f"class {k}" for k in range(4)
    }
