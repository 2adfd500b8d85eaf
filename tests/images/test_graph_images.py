"""Decoding and cropping in a graph, against Pillow."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from chunks import png_chunk
from PIL import Image

from gcvit_keras import ImageReader, load_image
from gcvit_keras.images.graph import (
    decode,
    or_grey,
    resize_and_crop,
)
from gcvit_keras.images.headers import count_pixels

FILES = Path(__file__).parent.parent / "data" / "images"


def noise(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype("uint8"))


def encoded(kind, width=37, height=21, **options):
    content = io.BytesIO()
    noise(width, height).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\b\0\0"}),  # extended
    ],
)
def test_headers_tell_the_size(kind, options):
    content = encoded(kind, **options)
    assert count_pixels(tf.constant(content)).numpy() == 37 * 21
    assert decode(tf.constant(content)).shape == (21, 37, 3)


def test_gif_is_read_of_trusted_files_only():
    content = tf.constant(encoded("GIF"))
    assert count_pixels(content).numpy() == 0
    assert count_pixels(content, trusted=True).numpy() == 37 * 21
    assert decode(content, trusted=True).shape == (21, 37, 3)


def of_mode(mode, kind, **options):
    content = io.BytesIO()
    noise(37, 21).convert(mode).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_with_alpha_is_read(lossless):
    image = noise(37, 21).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((37, 21)))
    content = io.BytesIO()
    image.save(content, "WEBP", lossless=lossless, exact=True)
    found = decode(tf.constant(content.getvalue())).numpy()
    expected = np.asarray(Image.open(content).convert("RGB"), "int32")
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_animations_are_refused(mode):
    frames = [noise(37, 21).convert(mode).rotate(90 * k) for k in range(3)]
    content = io.BytesIO()
    frames[0].save(content, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG, PNG"):
        decode(tf.constant(content.getvalue()))


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_bmp_of_a_palette_is_refused(mode):
    content = tf.constant(of_mode(mode, "BMP"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG, PNG"):
        decode(content)


def test_bmp_with_alpha_is_read():
    content = of_mode("RGBA", "BMP")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert (decode(tf.constant(content)).numpy() == expected).all()


@pytest.mark.parametrize("compression", [1, 3])
def test_compressed_bmp_is_refused(compression):
    content = bytearray(encoded("BMP"))
    content[30:34] = struct.pack("<i", compression)
    assert count_pixels(tf.constant(bytes(content))).numpy() == 0


def test_one_format_cannot_be_taken_for_another():
    """Of which the size would be read, while the other is decoded."""
    gif = bytearray(encoded("GIF"))
    for mark in (b"VP8 ", b"VP8L", b"VP8X"):
        gif[12:16] = mark
        assert count_pixels(tf.constant(bytes(gif))).numpy() == 0
    webp = encoded("WEBP")
    for other in (b"GIF8" + webp[4:], webp[:8] + b"WAVE" + webp[12:]):
        assert count_pixels(tf.constant(other)).numpy() == 0


def test_a_png_has_its_size_where_it_is_looked_for():
    # libpng takes a chunk before the header that it does not know.
    content = encoded("PNG")
    chunk = png_chunk(b"aaAa", struct.pack(">II", 1, 1) + bytes(5))
    changed = content[:8] + chunk + content[8:]
    assert Image.open(io.BytesIO(changed)).size == (37, 21)
    assert count_pixels(tf.constant(changed)).numpy() == 0


def test_a_bmp_with_its_top_row_first_has_a_size():
    content = bytearray(encoded("BMP"))
    content[22:26] = struct.pack("<i", -21)
    assert count_pixels(tf.constant(bytes(content))).numpy() == 37 * 21


@pytest.mark.parametrize(
    "content", [b"", b"text", b"RIFF", b"\x89PNG\r\n", b"BM"]
)
def test_what_is_no_image_has_no_pixels(content):
    assert count_pixels(tf.constant(content)).numpy() == 0
    with pytest.raises(tf.errors.InvalidArgumentError, match="no JPEG, PNG"):
        decode(tf.constant(content))


def bomb(width, height):
    """The header of a PNG of that size, and next to nothing else."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", data)
        + png_chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_by_its_header():
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        decode(tf.constant(bomb(60_000, 60_000)))
    content = tf.constant(encoded("PNG"))
    assert decode(content, max_pixels=37 * 21).shape == (21, 37, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        decode(content, max_pixels=37 * 21 - 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize(
    "name, size, ratio",
    [
        ("rocket.jpg", (224, 224), 0.875),
        ("chelsea.png", (96, 160), 1.0),
        ("plain.bmp", (64, 32), 0.9),
        ("plain.webp", (33, 33), 0.875),
    ],
)
def test_a_crop_is_that_of_pillow(name, size, ratio, mode, interpolation):
    path = FILES / name
    reader = ImageReader(size, ratio, mode, interpolation)
    expected = reader.read(path)
    found = reader.read_in_graph(path.read_bytes())
    difference = np.abs(found.numpy() - expected)
    # A grey level, and two where the rounding of both axes meet.
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-3


def test_an_elongated_image_is_cropped_without_being_resized_whole():
    line = noise(700, 1)
    content = io.BytesIO()
    line.save(content, "PNG")
    expected = load_image(content.getvalue(), 64)
    found = resize_and_crop(np.asarray(line), ImageReader(64))
    assert np.abs(found.numpy() - expected).max() <= 1


@pytest.mark.parametrize("mode", ["center", "squash"])
def test_a_crop_takes_no_more_than_the_pixels_allowed(mode):
    # 1 x 1,000,000: 224 columns of it are 2.7 GB.
    strip = np.zeros((1_000_000, 1, 3), "uint8")
    with pytest.raises(tf.errors.InvalidArgumentError, match="too elongated"):
        resize_and_crop(strip, ImageReader(224, crop_mode=mode))
    small = strip[:100]
    reader = ImageReader(8, crop_mode=mode, max_pixels=800)
    assert resize_and_crop(small, reader).shape == (8, 8, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too elongated"):
        resize_and_crop(small, reader.replace(max_pixels=799))


def test_a_very_wide_image_is_refused():
    wide = np.zeros((1, 100_000, 3), "uint8")  # as a whole 224 x 22,400,000
    with pytest.raises(tf.errors.InvalidArgumentError, match="too elongated"):
        resize_and_crop(wide, ImageReader(224))


@tf.function
def read_or_grey(content):
    return or_grey(lambda: ImageReader(32).read_in_graph(content), (32, 32))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_truncated_image_is_grey_and_said_to_be_broken(kind):
    content = encoded(kind, 120, 90)
    for length in (12, 40, len(content) // 2, len(content)):
        image, valid = read_or_grey(tf.constant(content[:length]))
        if length == len(content):
            assert valid and image.numpy().std() > 5
        else:
            assert not valid
            np.testing.assert_allclose(
                image[5, 7] / 255, [0.485, 0.456, 0.406], atol=1e-6
            )
