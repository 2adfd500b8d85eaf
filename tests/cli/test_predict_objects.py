"""`gcvit predict` with a detector: JSON, pictures, every kind of file."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from command import gcvit, inside, refused
from detectors import detector
from PIL import Image
from pycocotools import mask as coco_mask

from gcvit_export import export_saved_model
from gcvit_export.samples import photographs
from gcvit_keras.detection import DetectionReader

READER = DetectionReader(96, 160)
LABELS = ["cat", "dog", "zebra"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return detector()


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    """A folder of a detector, an export of it, and images."""
    folder = tmp_path_factory.mktemp("objects")
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{x}\n" for x in LABELS))
    name = f"model.keras.{DetectionReader.FILE}"
    (folder / name).write_text(READER.to_json())
    export_saved_model(
        model, folder / "saved", LABELS, image_reader=READER, verify=False
    )
    (folder / "other").mkdir()
    # Of one size, for which a detector is traced once.
    pictures = photographs(120, 160, count=2).astype("uint8")
    for name, pixels in zip(("a", "other/a"), pictures, strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def expected_of(model, place):
    """What the model itself detects, and a score that some are below."""
    results = model.detect(
        [place / "a.png", place / "other" / "a.png"],
        short_side=READER.short_side,
        long_side=READER.long_side,
    )
    return results, np.median([one["scores"] for one in results])


def predict(place, *arguments):
    code, output, errors = inside("predict", *arguments, cwd=place)
    assert code == 0, errors
    return output


@pytest.mark.parametrize("file", ["model.keras", "saved"])
def test_objects_as_json_and_as_pictures(file, expected_of, place, tmp_path):
    results, least = expected_of
    out = tmp_path / "pictures"
    rows = json.loads(
        predict(
            place,
            *("a.png", "other/a.png", "--model", file, "--out", out),
            *("--score-threshold", str(least), "--json"),
        )
    )
    paths = [place / "a.png", place / "other" / "a.png"]
    assert len({row["picture"] for row in rows}) == 2
    for row, expected, path in zip(rows, results, paths, strict=True):
        shown = expected["scores"] >= least
        objects = row["objects"]
        np.testing.assert_allclose(
            [one["score"] for one in objects],
            expected["scores"][shown],
            atol=1e-4,
        )
        np.testing.assert_allclose(
            [one["box"] for one in objects], expected["boxes"][shown], atol=0.02
        )
        assert [one["label"] for one in objects] == [
            LABELS[k] for k in expected["classes"][shown]
        ]
        for one, mask in zip(objects, expected["masks"][shown], strict=True):
            assert (coco_mask.decode(one["mask"]) != mask).mean() < 1e-3
        photo = np.asarray(Image.open(path))
        picture = np.asarray(Image.open(row["picture"]))
        assert picture.shape == photo.shape
        changed = (picture != photo).any(-1)
        inside_masks = expected["masks"][shown].any(0)
        assert changed[inside_masks].mean() > 0.95
        assert changed.mean() < 1


def test_no_picture_replaces_another(place, tmp_path):
    names = ["a.png", "a_1.png", "scan.1.png", "scan.2.png", "x/a.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(place / "a.png", tmp_path / name)
    model = place / "model.keras"
    rows = json.loads(
        predict(tmp_path, *names, "--model", model, "--out", "out", "--json")
    )
    pictures = [Path(row["picture"]).name for row in rows]
    assert pictures == [
        *("a.png", "a_1.png", "scan.1.png", "scan.2.png", "a_2.png"),
    ]
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_text_names_what_is_found(place):
    # In a process of its own, which has imported no detector before.
    arguments = ("predict", "a.png", "--model", "model.keras", "--top", "2")
    code, output, errors = gcvit(*arguments, cwd=place)
    assert code == 0, errors
    lines = output.splitlines()
    assert lines[0] == "a.png"
    assert len(lines) == 3
    assert "%  zebra  " in lines[1]


def test_a_detector_has_no_crop_ratio_and_a_classifier_no_pictures(
    nano, place, tmp_path
):
    arguments = ("predict", "a.png", "--model", "model.keras")
    line = refused(*arguments, "--crop-ratio", "0.5", cwd=place, code=2)
    assert "--crop-ratio does not go with a detector" in line
    path = tmp_path / "classifier.keras"
    nano(depths=(1, 1, 1, 1), input_shape=(32, 32, 3)).save(path)
    arguments = ("predict", "a.png", "--model", path, "--out", "x")
    line = refused(*arguments, cwd=place, code=2)
    assert "--out does not go with a classifier" in line


@pytest.mark.slow
def test_a_detector_is_exported_and_verified(place, tmp_path):
    arguments = ("export", "model.keras", "--format", "savedmodel", "--json")
    code, output, errors = inside(
        *(*arguments, "--out", tmp_path / "out", "--image-size", "96"),
        cwd=place,
    )
    assert code == 0, errors
    assert json.loads(output)["kind"] == "savedmodel detections"
    version = tmp_path / "out" / "1"
    assert DetectionReader.of(version).short_side == 96
    assert (version / "assets" / "labels.txt").read_text().split() == LABELS
    code, output, errors = inside(
        *("verify", version, "--against", "model.keras"), cwd=place
    )
    assert code == 0, errors
    assert "boxes that match" in output and "100.0% of" in output


def test_what_a_detector_cannot_be_exported_with_is_refused(place, tmp_path):
    arguments = ("export", "model.keras", "--out", tmp_path / "m.onnx")
    line = refused(*arguments, "--format", "onnx", cwd=place)
    assert "error: --input-size must be (height, width): onnx of a" in line
    savedmodel = (*arguments, "--format", "savedmodel")
    line = refused(*savedmodel, "--data", "digits", cwd=place, code=2)
    assert "--data does not go with a detector" in line
    quantized = ("--format", "litert", "--quantize", "int8", "--data", "digits")
    line = refused(*arguments, *quantized, cwd=place, code=2)
    assert "--quantize does not go with a detector" in line
    line = refused(*savedmodel, "--crop-ratio", "0.9", cwd=place)
    assert "`crop_ratio` must be None for a detector" in line


def test_a_page_of_a_detector_is_of_the_whole_image(place, tmp_path):
    line = refused(
        *("explain", place / "a.png", "--model", place / "model.keras"),
        *("--out", "a.html", "--crop-ratio", "0.5"),
        cwd=tmp_path,
        code=2,
    )
    assert line == "error: --crop-ratio does not go with a detector"
    assert not (tmp_path / "a.html").exists()


def test_a_page_explains_the_box_that_is_chosen(place, tmp_path):
    out = tmp_path / "page.html"
    arguments = ("explain", "a.png", "--model", "model.keras", "--out", out)
    code, _, errors = inside(*arguments, "--box", "2", cwd=place)
    assert code == 0, errors
    page = out.read_text()
    assert page.index("2. zebra") < page.index("1. zebra")
    assert "Grad-CAM of a box" in page
    assert "windows of 4 by 4 places" in page
    assert "No global attention" not in page
    line = refused(*arguments, "--class", "0", cwd=place, code=2)
    assert "--class does not go with a detector" in line
    line = refused(*arguments, "--box", "99", cwd=place, code=2)
    assert "objects are found" in line
