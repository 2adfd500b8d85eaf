"""`gcvit predict` and `explain` with a segmenter."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from command import inside, refused
from matplotlib import colormaps
from PIL import Image

from gcvit_export import export_litert, export_saved_model
from gcvit_export.runner import Artifact
from gcvit_export.samples import photographs
from gcvit_keras.explain import pixel_cam
from gcvit_keras.segmentation import SegmentationReader, draw_classes

sys.path.append(str(Path(__file__).parent.parent / "segmentation"))
from segmenters import small  # noqa: E402

LABELS = ["sky", "sea", "sand", "sun"]
READER = SegmentationReader(64, 160)


@pytest.fixture(scope="module")
def model():
    """A segmenter whose classes differ from pixel to pixel."""
    model = small(4, backbone={"depths": (2, 2, 1, 1)})
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        fan = np.prod(variable.shape[:-1]) if len(variable.shape) > 1 else 10
        noise = 0.5 * random.normal(size=variable.shape) / np.sqrt(fan)
        variable.assign(variable + noise.astype("float32"))
    return model


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    """A folder of a segmenter, exports of it, and images."""
    folder = tmp_path_factory.mktemp("pixels")
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("".join(f"{x}\n" for x in LABELS))
    (folder / SegmentationReader.FILE).write_text(READER.to_json())
    export_saved_model(
        model, folder / "saved", LABELS, image_reader=READER, verify=False
    )
    export_litert(
        model,
        folder / "model.tflite",
        labels=LABELS,
        image_size=(64, 64),
        verify=False,
    )
    (folder / "other").mkdir()
    for name, size in (("a", (60, 80)), ("other/a", (80, 60))):
        pixels = photographs(*size, count=1)[0].astype("uint8")
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def predict(place, *arguments):
    code, output, errors = inside("predict", *arguments, cwd=place)
    assert code == 0, errors
    return output


@pytest.mark.parametrize("artifact", ["model.keras", "saved"])
def test_shares_and_pictures_are_those_of_the_model(
    model, place, tmp_path, artifact
):
    images = place / "a.png", place / "other" / "a.png"
    output = predict(
        place, *images, "--model", artifact, "--json", "--out", tmp_path
    )
    expected = model.segment(images, short_side=64, long_side=160)
    rows = json.loads(output)
    assert [Path(row["picture"]).name for row in rows] == ["a.png", "a_1.png"]
    for row, image, classes in zip(rows, images, expected, strict=True):
        assert row["size"] == list(classes.shape)
        for one in row["classes"]:
            share = (classes == one["class"]).mean()
            assert one["share"] == pytest.approx(share, abs=2e-3)
            assert one["label"] == LABELS[one["class"]]
        map_ = np.array(Image.open(row["map"]))
        assert (map_ == classes).mean() > 0.998
        picture = np.array(Image.open(row["picture"]))
        drawn = draw_classes(np.array(Image.open(image)), map_, LABELS)
        np.testing.assert_array_equal(picture, drawn)


def test_a_file_of_a_fixed_size_tells_the_same(model, place):
    output = predict(place, "a.png", "--model", "model.tflite", "--json")
    (row,) = json.loads(output)
    assert row["size"] == [60, 80]
    classes = stretched(model, np.array(Image.open(place / "a.png")))
    for one in row["classes"]:
        share = (classes == LABELS.index(one["label"])).mean()
        assert one["share"] == pytest.approx(share, abs=2e-3)


def stretched(model, pixels):
    """Classes of an image's pixels by way of 64 x 64."""
    image = tf.image.resize(pixels[None], (64, 64), antialias=True)
    logits = tf.image.resize(model(image), pixels.shape[:2])
    return np.argmax(logits[0], -1)


def random_truth(folder, classes_of):
    """Writes two images with label maps; the share that is found rightly."""
    random = np.random.default_rng(4)
    right = []
    for kind in ("images", "labels"):
        (folder / kind / "test").mkdir(parents=True)
    for i, size in enumerate([(60, 80), (90, 50)]):
        pixels = photographs(*size, count=1)[0].astype("uint8")
        labels = random.integers(0, 4, size).astype("uint8")
        Image.fromarray(pixels).save(folder / f"images/test/{i}.png")
        Image.fromarray(labels).save(folder / f"labels/test/{i}.png")
        right.append((classes_of(pixels) == labels).ravel())
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return pytest.approx(np.concatenate(right).mean(), abs=2e-3)


def accuracy(place, *arguments):
    code, output, errors = inside("evaluate", *arguments, "--json", cwd=place)
    assert code == 0, errors
    return json.loads(output)["pixel_accuracy"]


def test_a_file_of_a_fixed_size_is_measured(model, place, tmp_path):
    expected = random_truth(tmp_path, lambda pixels: stretched(model, pixels))
    assert accuracy(place, "model.tflite", "--data", tmp_path) == expected


def test_a_model_is_measured_by_windows(model, place, tmp_path):
    how = {"short_side": None, "window": 40, "stride": 20}
    expected = random_truth(
        tmp_path, lambda pixels: model.segment([pixels], **how)[0]
    )
    arguments = ["model.keras", "--data", tmp_path]
    for setting in ("data.window=40", "data.stride=20", "data.short_side=null"):
        arguments += ["--set", setting]
    assert accuracy(place, *arguments) == expected
    line = refused(
        "evaluate", *arguments, "--set", "epochs=3", cwd=place, code=2
    )
    assert "--set must be of data" in line


def test_lines_name_the_largest_share_first(place):
    output = predict(place, "a.png", "--model", "model.keras", "--top", "2")
    name, *lines = output.splitlines()
    shares = [float(line.split("%")[0]) for line in lines]
    assert name == "a.png" and shares == sorted(shares, reverse=True)
    assert len(shares) <= 2


def test_options_of_other_models_are_refused(place):
    line = refused(
        "predict", "a.png", "--model", "model.keras", "--crop-ratio", "0.9",
        cwd=place, code=2,
    )  # fmt: skip
    assert "--crop-ratio does not go with a segmenter" in line


def test_a_page_explains_the_classes_of_an_image(place, tmp_path):
    """It is of the size that `segment` reduces it to: 64.5 pixels are 65."""
    page, image = tmp_path / "page.html", tmp_path / "b.png"
    pixels = photographs(128, 129, count=1)[0].astype("uint8")
    Image.fromarray(pixels).save(image)
    code, _, errors = inside(
        "explain", image, "--model", "model.keras", "--out", page, cwd=place
    )
    assert code == 0, errors
    text = page.read_text()
    assert "share of the pixels" in text and "Grad-CAM of the pixels" in text
    assert sum(f">{label}" in text for label in LABELS) > 1
    assert "64 by 65 pixels" in text


@pytest.mark.parametrize("asked", ["sun", "3"])
def test_a_page_shows_the_class_that_is_asked_for_first(
    model, place, tmp_path, asked
):
    page = tmp_path / "page.html"
    arguments = ("explain", "a.png", "--model", "model.keras", "--out", page)
    code, _, errors = inside(*arguments, "--class", asked, cwd=place)
    assert code == 0, errors
    image = Image.open(place / "a.png").resize((85, 64), Image.BILINEAR)
    (heat,) = pixel_cam(model, np.asarray(image), [3])
    text = page.read_text()
    (first,) = re.findall(
        r'id="cam-map" src="data:image/png;base64,(.*?)"', text
    )
    shown = Image.open(io.BytesIO(base64.b64decode(first)))
    heat = (heat - heat.min()) / np.ptp(heat)
    expected = colormaps["inferno"](heat)[..., :3]
    assert np.abs(np.asarray(shown) - 255 * expected).max() <= 3
    line = refused(*arguments, "--class", "moon", cwd=place, code=2)
    assert "--class must be one of the model's 4 classes" in line


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images with label maps: 16 to find int8's ranges from, 4 others."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = photographs(60, 80, count=20).astype("uint8")
    for i, pixels in enumerate(pictures):
        split = "train" if i < 16 else "test"
        labels = np.uint8(pixels[..., 0] // 64)
        for kind, content in (("images", pixels), ("labels", labels)):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / kind / split / f"{i}.png")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return folder


def test_int8_finds_its_ranges_from_images_with_label_maps(
    model, place, photos, tmp_path
):
    export = ("export", place / "model.keras", "--format", "litert")
    code, output, errors = inside(
        *(*export, "--quantize", "int8", "--input-size", 64, 96),
        *("--data", photos, "--out", "m.tflite", "--json"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    report = json.loads(output)
    assert report["kind"] == "litert int8" and report["images"] == 4
    artifact = Artifact(tmp_path / "m.tflite")
    right = []
    for path in sorted((photos / "images" / "test").iterdir()):
        pixels = np.asarray(Image.open(path))[None]
        image = tf.image.resize(pixels, (64, 96), antialias=True)
        found = artifact(image)["logits"].argmax(-1)
        right.append(found == np.asarray(model(image)).argmax(-1))
    assert np.mean(right) > 0.97
    assert report["agreement"] == pytest.approx(np.mean(right), abs=0.01)
    verify = ("verify", "m.tflite", "--against", place / "model.keras")
    code, output, errors = inside(
        *(*verify, "--data", photos, "--json"), cwd=tmp_path
    )
    assert code == 0, errors
    assert json.loads(output)["images"] == 4
    line = refused(*verify, "--data", "landscapes", cwd=tmp_path)
    assert "`data.dataset` must be" in line
