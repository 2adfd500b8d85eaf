"""Commands match classes by name, and read images as the run did.

With a network that says how red, green and blue an image is: its classes are
`zebra`, `apple` and `berry`, in this order, so that no other order is right.
"""

import json
import shutil

import keras
import numpy as np
import pytest
from command import inside, refused
from PIL import Image

from gcvit_export import export_litert, export_saved_model
from gcvit_keras import ImageReader
from gcvit_training import read_config
from gcvit_training.config import write_config

LABELS = ["zebra", "apple", "berry"]
SIDE = 32


def picture(colour, border=None):
    """An image of one colour, around whose central half is another."""
    pixels = np.full((SIDE, SIDE, 3), 20, "uint8")
    pixels[..., colour if border is None else border] = 220
    if border is not None:
        pixels[8:24, 8:24] = 20
        pixels[8:24, 8:24, colour] = 220
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, its model and exports, and photos of the three classes."""
    folder = tmp_path_factory.mktemp("classes")
    images = keras.Input((SIDE, SIDE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    logits = keras.layers.Dense(3, use_bias=False)
    scores = keras.layers.Softmax()(logits(mean))
    logits.kernel.assign(np.eye(3) / 20)
    model = keras.Model(images, scores)
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    write_config(read_config("digits"), folder / "run" / "config.yaml")
    reader = ImageReader(SIDE, crop_ratio=0.5).to_json()
    (folder / "run" / ImageReader.FILE).write_text(reader)
    text = "\n".join(LABELS) + "\n"
    (folder / "run" / "labels.txt").write_text(text)
    export_saved_model(model, folder / "saved", LABELS, verify=False)
    export_litert(model, folder / "m.tflite", labels=LABELS, verify=False)
    for colour, name in enumerate(LABELS):
        place = folder / "photos" / "test" / name
        place.mkdir(parents=True)
        for i in range(colour + 1):
            picture(colour).save(place / f"{i}.png")
    return folder


ARTIFACTS = ["run", "run/model.keras", "saved", "saved/1", "m.tflite"]


@pytest.mark.parametrize("artifact", ["run", "saved", "m.tflite"])
def test_classes_are_matched_by_name(folder, artifact, tmp_path):
    command = ("evaluate", folder / artifact, "--data", folder / "photos")
    code, output, errors = inside(
        *command, "--split", "test", "--json", cwd=tmp_path
    )
    assert (code, errors) == (0, "")
    found = json.loads(output)
    assert found["labels"] == LABELS
    assert found["top1"] == 1
    assert found["confusion"] == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
    assert not (folder / "run" / "evaluation.json").exists()


def test_a_class_without_images_is_a_note(folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos" / "test" / "apple")
    code, output, errors = inside(
        *("evaluate", folder / "run", "--data", "photos", "--json"),
        cwd=tmp_path,
    )
    assert code == 0
    assert errors == ("note: photos has no images of apple (1 of 3 classes)\n")
    found = json.loads(output)
    assert found["confusion"] == [[1, 0, 0], [0, 0, 0], [0, 0, 3]]
    assert [c["accuracy"] for c in found["per_class"]] == [1, None, 1]


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_unknown_class_is_an_error(folder, artifact, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    place = tmp_path / "photos" / "test"
    (place / "apple").rename(place / "melon")
    line = refused(
        "evaluate", folder / artifact, "--data", "photos", cwd=tmp_path
    )
    assert line.startswith("error: photos has classes that ")
    assert line.endswith(" does not know: melon (1 of 3)")


def test_labels_can_be_given(folder, tmp_path):
    (tmp_path / "names.txt").write_text("berry\nzebra\napple\n")
    command = ("evaluate", folder / "run", "--data", folder / "photos")
    _, output, _ = inside(
        *command, "--labels", "names.txt", "--json", cwd=tmp_path
    )
    assert json.loads(output)["top1"] == 0


@pytest.mark.parametrize("artifact", ["run", "m.tflite"])
@pytest.mark.parametrize(
    "names, words",
    [
        ("", "names.txt has no labels"),
        ("apple\nberry\n", "that names.txt does not know: zebra (1 of 3)"),
    ],
)
def test_labels_that_are_not_the_models_are_refused(
    folder, tmp_path, artifact, names, words
):
    (tmp_path / "names.txt").write_text(names)
    line = refused(
        *("evaluate", folder / artifact, "--data", folder / "photos"),
        *("--labels", "names.txt"),
        cwd=tmp_path,
    )
    assert words in line


@pytest.mark.parametrize(
    "artifact, words",
    [
        ("run", "--set cannot set what is fixed: ['data.image_size']"),
        ("m.tflite", "--set must be of a run, a detector or a segmenter"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(
    folder, artifact, words
):
    line = refused(
        *("evaluate", artifact, "--data", "photos"),
        *("--set", "data.image_size=64"),
        cwd=folder,
    )
    assert words in line


def test_without_labels_classes_count_in_their_order(folder, tmp_path):
    shutil.copy(folder / "run" / "model.keras", tmp_path / "m.keras")
    command = ("evaluate", "m.keras", "--data", folder / "photos", "--json")
    code, output, errors = inside(*command, cwd=tmp_path)
    assert code == 0 and errors.startswith("note: m.keras has no labels.txt")
    assert json.loads(output)["labels"] == sorted(LABELS)


def best(output):
    return {
        row["image"]: row["classes"][0]["label"] for row in json.loads(output)
    }


def test_predict_takes_a_run_and_sees_what_its_evaluation_saw(folder, tmp_path):
    picture(1, border=0).save(tmp_path / "a.png")
    command = ("predict", "a.png", "--json", "--model")
    code, output, errors = inside(*command, folder / "run", cwd=tmp_path)
    assert (code, errors) == (0, "")
    assert best(output) == {"a.png": "apple"}
    # With the model's file inside the run, too; not with a copy of it.
    model = folder / "run" / "model.keras"
    _, output, _ = inside(*command, model, cwd=tmp_path)
    assert best(output) == {"a.png": "apple"}
    labels = folder / "run" / "labels.txt"
    shutil.copy(model, tmp_path / "m.keras")
    copy = ("m.keras", "--labels", labels)
    _, output, _ = inside(*command, *copy, cwd=tmp_path)
    assert best(output) == {"a.png": "zebra"}
    _, output, _ = inside(
        *command, folder / "run", "--crop-ratio", 1, cwd=tmp_path
    )
    assert best(output) == {"a.png": "zebra"}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_predict_of_no_image_is_an_error(folder, tmp_path, more):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    code, output, errors = inside(
        *("predict", "photos", "--model", folder / "run", *more), cwd=tmp_path
    )
    assert (code, output) == (1, "")
    note, error = errors.splitlines()
    assert note == "note: photos: 0 images, and 1 files that are none"
    assert error == "error: no image in photos"


def test_predict_takes_folders(folder, tmp_path):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    photo = tmp_path / "photos" / "test" / "apple" / "1.png"
    photo.rename(photo.with_name("photo.of-an-apple"))  # known by its content
    picture(2).save(tmp_path / "single.png")
    code, output, errors = inside(
        *("predict", "photos", "single.png", "--json", "--model"),
        folder / "run",
        cwd=tmp_path,
    )
    assert code == 0
    assert errors == "note: photos: 6 images, and 1 files that are none\n"
    assert best(output) == {
        "photos/test/apple/0.png": "apple",
        "photos/test/apple/photo.of-an-apple": "apple",
        "photos/test/berry/0.png": "berry",
        "photos/test/berry/1.png": "berry",
        "photos/test/berry/2.png": "berry",
        "photos/test/zebra/0.png": "zebra",
        "single.png": "berry",
    }


def test_what_is_not_there_is_said_first(tmp_path):
    for command in ("evaluate nope", "predict x.png --model nope"):
        line = refused(*command.split(), cwd=tmp_path)
        assert line == "error: nope: no such model or run"
