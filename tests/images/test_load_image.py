"""Reading image files for prediction."""

import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from sklearn.datasets import load_sample_images

from gcvit_keras import load_image

IMAGES = Path(__file__).parent.parent / "data" / "images"
EXPECTED = dict(np.load(IMAGES / "expected.npz"))
SETTINGS = {
    "center": (112, 0.875, "center", "bicubic"),
    "whole": (112, 1.0, "center", "bilinear"),
    "squash": (112, 1.0, "squash", "bicubic"),
    "squash_crop": (96, 0.9, "squash", "lanczos"),
    "wide": ((80, 144), 0.95, "center", "bicubic"),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_pixels_are_those_of_timms_evaluation_transform(case):
    """Of photographs, and of one in every format and mode (make.py there)."""
    name, setting = case.split()
    path = IMAGES / name
    if not path.exists():
        path = Path(sklearn.datasets.__file__).parent / "images" / name
    found = load_image(path, *SETTINGS[setting])
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - EXPECTED[case])
    # Another version of a JPEG or WebP decoder may round otherwise.
    assert np.mean(difference.max(-1) <= 1) >= 0.99
    np.testing.assert_array_equal(
        load_image(path.read_bytes(), *SETTINGS[setting]), found
    )


def test_the_expected_pixels_are_of_every_format():
    suffixes = {case.split()[0].split(".")[1] for case in EXPECTED}
    assert suffixes == {"jpg", "png", "webp", "bmp", "gif"}
    assert len(EXPECTED) == 5 * 5 + 12


@pytest.fixture
def photo(tmp_path):
    """A real photograph, 427 x 640, that scikit-learn ships."""
    path = tmp_path / "flower.png"
    pixels = load_sample_images().images[1]
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_resize_then_centre_crop_as_the_published_evaluation(photo):
    path, pixels = photo
    # torchvision's: shorter side to 256, the other to its whole part.
    resized = Image.fromarray(pixels).resize(
        (int(256 * 640 / 427), 256), Image.Resampling.BICUBIC
    )
    left, top = round((resized.width - 224) / 2), round((256 - 224) / 2)
    expected = np.asarray(resized)[top : top + 224, left : left + 224]
    np.testing.assert_array_equal(load_image(path, 224, 0.875), expected)


def test_sizes_that_are_not_square_are_filled(photo):
    path, pixels = photo
    assert load_image(path, (100, 300)).shape == (100, 300, 3)
    np.testing.assert_array_equal(load_image(path, (427, 640)), pixels)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "LA", "1"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_mode_becomes_the_channels_asked_for(tmp_path, mode, channels):
    path = tmp_path / "image.tiff"
    Image.new("RGB", (40, 30), (204, 204, 204)).convert(mode).save(path)
    image = load_image(path, 32, channels=channels)
    assert image.shape == (32, 32, channels) and image.dtype == np.uint8
    if mode != "1":
        assert np.abs(image[..., 0].astype(int) - 204).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    path = tmp_path / "deep.png"
    deep = np.tile(np.arange(0, 65536, 1024, dtype="uint16"), (64, 1))
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(load_image(path, 64)[..., 0], deep >> 8)


def test_exif_rotation_is_applied(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    half = np.zeros((32, 32, 3), "uint8")
    half[:16] = 255
    Image.fromarray(half).save(path, exif=exif, quality=100)
    image = load_image(path, 32)
    assert image[:, 20:].min() > 250 and image[:, :12].max() < 5


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n" + b"\0" * 50]
)
def test_what_is_no_image_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.png: not a readable image"):
        load_image(path, 32)


def test_a_truncated_image_is_an_error(photo):
    path, _ = photo
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match="flower.png: not a readable image"):
        load_image(path, 32)


def test_a_decompression_bomb_is_an_error(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(ValueError, match="bomb.png: not a readable image"):
        load_image(path, 32)


def test_what_is_no_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="missing.png: no such file"):
        load_image(tmp_path / "missing.png", 32)
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(ValueError, match=f"{path}: not a file"):
            load_image(path, 32)


def test_float_pixels_are_refused_not_clipped(tmp_path):
    path = tmp_path / "float.tiff"
    Image.fromarray(np.full((8, 8), 0.5, "float32")).save(path)
    with pytest.raises(ValueError, match="float.tiff: .* float pixels"):
        load_image(path, 32)


def test_integers_of_more_than_sixteen_bits_are_refused(tmp_path):
    path = tmp_path / "deep.tiff"
    for value in (70_000, -3):
        Image.fromarray(np.full((8, 8), value, "int32")).save(path)
        with pytest.raises(ValueError, match="of more than 16 bits"):
            load_image(path, 8)
    Image.fromarray(np.full((8, 8), 51_200, "int32")).save(path)
    assert (load_image(path, 8) == 200).all()


def test_what_is_returned_may_be_written_to(photo):
    image = load_image(photo[0], 8)
    before = image.copy()
    image[0] = 255 - image[0]
    assert (image[0] == 255 - before[0]).all()


def test_a_line_that_would_fill_the_memory_is_an_error(tmp_path):
    path = tmp_path / "line.png"
    Image.new("L", (1, 50_000)).save(path)
    with pytest.raises(ValueError, match="line.png: .* too elongated or"):
        load_image(path, 224)


@pytest.mark.parametrize(
    "options",
    [
        {"crop_ratio": 0},
        {"crop_ratio": 1.5},
        {"crop_ratio": None},
        {"channels": 2},
        {"channels": [3]},
        {"size": True},
        {"crop_mode": "border"},
        {"interpolation": "cubic"},
        {"size": 0},
        {"size": (32, 32, 3)},
        {"size": "224"},
        {"path_or_bytes": None},
    ],
)
def test_bad_arguments_are_named(photo, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        load_image(**{"path_or_bytes": photo[0], "size": 32, **options})


def test_bytes_that_are_no_image_are_an_error():
    with pytest.raises(ValueError, match="image of 4 bytes: not a readable"):
        load_image(b"text", 32)
