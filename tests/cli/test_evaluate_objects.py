"""`gcvit evaluate` with a detector: files and exports, classes by name."""

import json
import shutil

import keras
import pytest
from command import inside, refused
from detectors import detector
from PIL import Image

from gcvit_export import export_onnx, export_saved_model
from gcvit_export.samples import photographs
from gcvit_keras.detection import DetectionReader

READER = DetectionReader(96, 160)
MODEL, DATA = ["zebra", "cat", "dog"], ["cat", "zebra"]
"""Names of the model's classes, and of those in the data."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A detector, an export of it, and data in COCO's format.

    The objects are what the detector itself finds best, so that precision is
    not zero where classes and boxes are read as they are meant.
    """
    folder = tmp_path_factory.mktemp("evaluated")
    keras.utils.set_random_seed(0)
    model = detector(seed=4)
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{x}\n" for x in MODEL))
    (folder / READER.FILE).write_text(READER.to_json())
    export_saved_model(
        model, folder / "saved", MODEL, image_reader=READER, verify=False
    )
    images = folder / "coco" / "images"
    images.mkdir(parents=True)
    (folder / "coco" / "annotations").mkdir()
    # Of one size, for which a detector is traced once.
    sizes = [(160, 120)] * 2
    pictures = photographs(160, 120, count=2).astype("uint8")
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(images / f"{i}.png")
    detections = model.detect(
        [images / "0.png", images / "1.png"],
        short_side=READER.short_side,
        long_side=READER.long_side,
    )
    annotations = []
    for i, found in enumerate(detections):
        for box, k in zip(found["boxes"], found["classes"], strict=True):
            if MODEL[k] not in DATA:
                continue
            x1, y1, x2, y2 = map(float, box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": 10 + DATA.index(MODEL[k]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                    "iscrowd": 0,
                }
            )
    assert len({a["category_id"] for a in annotations}) == 2
    truth = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": h, "width": w}
            for i, (h, w) in enumerate(sizes)
        ],
        "categories": [{"id": 10 + i, "name": n} for i, n in enumerate(DATA)],
        "annotations": annotations,
    }
    path = folder / "coco" / "annotations" / "test.json"
    path.write_text(json.dumps(truth))
    return folder


@pytest.mark.parametrize("artifact", ["model.keras", "saved"])
def test_a_detector_finds_its_own_objects(place, tmp_path, artifact):
    code, output, errors = inside(
        *("evaluate", place / artifact, "--data", place / "coco", "--json"),
        *("--split", "test", "--out", "out"),
        cwd=tmp_path,
    )
    assert code == 0
    assert "has no images of dog (1 of 3 classes)" in errors
    result = json.loads(output)
    assert result["box"]["ap"] > 0.99
    assert [row["class"] for row in result["per_class"]] == DATA
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written == result
    boxes = json.loads((tmp_path / "out" / "detections.bbox.json").read_text())
    assert {box["category_id"] for box in boxes} == {10, 11}


@pytest.mark.slow
def test_a_file_of_a_fixed_size_is_measured_in_pixels_of_the_images(
    place, tmp_path
):
    """Images are enlarged to be read, and shrunk to what `READER` makes."""
    pytest.importorskip("tf2onnx")
    export_onnx(
        keras.models.load_model(place / "model.keras"),
        tmp_path / "model.onnx",
        labels=MODEL,
        image_size=(128, 96),
        verify=False,
    )
    code, output, errors = inside(
        *("evaluate", "model.onnx", "--data", place / "coco", "--json"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    assert "has no images of dog (1 of 3 classes)" in errors
    assert json.loads(output)["box"]["ap50"] > 0.5


def test_a_class_that_the_detector_does_not_know_is_an_error(place, tmp_path):
    (tmp_path / "names.txt").write_text("zebra\nhorse\ndog\n")
    line = refused(
        *("evaluate", place / "model.keras", "--data", place / "coco"),
        *("--labels", "names.txt"),
        cwd=tmp_path,
    )
    assert "does not know: cat (1 of 2)" in line


@pytest.mark.slow
def test_without_names_classes_beyond_the_data_are_an_error(place, tmp_path):
    shutil.copy(place / "model.keras", tmp_path / "m.keras")
    shutil.copy(place / READER.FILE, tmp_path)
    code, _, errors = inside(
        *("evaluate", "m.keras", "--data", place / "coco"), cwd=tmp_path
    )
    assert code == 1
    note, error = errors.splitlines()
    assert note.startswith("note: m.keras has no labels.txt")
    assert "class number 2, of which there are 2" in error


def test_a_detector_has_no_one_size(place, tmp_path):
    line = refused(
        *("evaluate", place / "model.keras", "--data", place / "coco"),
        *("--size", 64),
        cwd=tmp_path,
        code=2,
    )
    assert line == "error: --size and --crop-ratio are not for this model"
