"""`ImageReader`: its settings, and where they are found again."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from gcvit_keras import ImageReader, load_image

READER = ImageReader((96, 80), 0.9, "squash", "bilinear", 10**5, 1)


@pytest.fixture(scope="module")
def png():
    """An encoded image of 40 x 30."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), "uint8")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_a_reader_reads_as_load_image_does(png):
    found = READER.read(png)
    assert found.shape == (96, 80, 1) and found.dtype == np.uint8
    expected = load_image(png, (96, 80), 0.9, "squash", "bilinear", channels=1)
    np.testing.assert_array_equal(found, expected)
    in_graph = READER.read_in_graph(png).numpy()
    assert np.abs(in_graph - expected).max() <= 1


def test_settings_survive_json():
    assert ImageReader.from_dict(json.loads(READER.to_json())) == READER
    assert ImageReader.from_dict({"size": 224}) == ImageReader((224, 224))
    changed = READER.replace(crop_ratio=0.5, crop_mode=None)
    assert changed.to_dict() == {**READER.to_dict(), "crop_ratio": 0.5}


@pytest.mark.parametrize(
    "place, asked",
    [
        ("run/image_reader.json", "run"),
        ("run/image_reader.json", "run/model.keras"),
        ("image_reader.json", "photos.tflite"),
        ("photos.tflite.image_reader.json", "photos.tflite"),
        ("saved/assets/image_reader.json", "saved"),
        ("saved/2/assets/image_reader.json", "saved"),
        ("saved/2/assets/image_reader.json", "saved/2"),
    ],
)
def test_a_models_reader_is_found(tmp_path, place, asked):
    for folder in ("run", "saved/1", "saved/2"):
        (tmp_path / folder).mkdir(parents=True)
    if place == "saved/assets/image_reader.json":
        (tmp_path / "saved/1").rmdir()
        (tmp_path / "saved/2").rmdir()
    assert ImageReader.of(tmp_path / asked) is None
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(READER.to_json())
    assert ImageReader.of(str(tmp_path / asked)) == READER


def test_a_files_very_own_reader_comes_first(tmp_path):
    (tmp_path / "image_reader.json").write_text(ImageReader(32).to_json())
    own = tmp_path / "photos.onnx.image_reader.json"
    own.write_text(READER.to_json())
    assert ImageReader.of(tmp_path / "photos.onnx") == READER
    assert ImageReader.of(tmp_path / "other.onnx") == ImageReader(32)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "Expecting"),
        ("[]", "no settings of an image reader"),
        ("{}", "missing.*'size'"),
        ('{"size": 8, "letterbox": 1}', "'letterbox'"),
        ('{"size": 8, "crop_ratio": 2}', r"`crop_ratio` must be in \(0, 1\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, words):
    (tmp_path / "image_reader.json").write_text(text)
    with pytest.raises(ValueError, match=f"image_reader.json cannot.*{words}"):
        ImageReader.of(tmp_path)


def test_an_image_over_the_limit_is_refused_before_it_is_decoded(png):
    assert load_image(png, 8, max_pixels=1200).shape == (8, 8, 3)
    for whole in (png, png[:60]):
        with pytest.raises(ValueError, match="40 x 30 is over the limit of"):
            load_image(whole, 8, max_pixels=1199)


@pytest.fixture(params=["PNG", "TIFF", "WEBP"])
def beyond_pillow(request, monkeypatch):
    """An encoded image of 1200 pixels, where Pillow refuses over 200."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, request.param)
    yield file.getvalue()
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.filterwarnings("error")
def test_the_limit_takes_the_place_of_pillow_s(beyond_pillow):
    assert load_image(beyond_pillow, 8, max_pixels=1200).shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [64, 1199])
def test_the_limit_is_named_beyond_pillow_s_too(beyond_pillow, limit):
    with pytest.raises(ValueError, match=f"over the limit of {limit} pixels"):
        load_image(beyond_pillow, 8, max_pixels=limit)


def test_numpy_s_numbers_are_settings_as_python_s_are():
    reader = ImageReader(np.int64(32), channels=np.int64(3))
    assert ImageReader.from_dict(json.loads(reader.to_json())) == reader


def test_a_limit_below_the_readers_own_size_is_refused():
    assert ImageReader(64, 0.9, max_pixels=71 * 71).resized_size == (71, 71)
    with pytest.raises(ValueError, match="`max_pixels` must be.*71 x 71"):
        ImageReader(64, 0.9, max_pixels=71 * 71 - 1)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"interpolation": "nearest"}, "`interpolation` must be one of"),
        ({"channels": 4}, "`channels` must be one of"),
    ],
)
def test_what_pillow_only_can_is_refused_in_a_graph(png, settings, words):
    reader = ImageReader(32, **settings)
    assert reader.read(png).shape[:2] == (32, 32)
    with pytest.raises(ValueError, match=words):
        reader.read_in_graph(png)
