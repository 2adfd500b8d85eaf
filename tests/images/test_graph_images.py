"""Decoding and cropping in a graph, against Pillow."""

import functools
import io
import itertools
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gcvit_keras import ImageReader, load_image
from gcvit_keras.images.graph import (
    decode,
    decode_part,
    or_grey,
    resize_and_crop,
)
from gcvit_keras.images.headers import count_pixels, find_orientation

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
    data = struct.pack(">II", 1, 1) + bytes(5)
    chunk = b"aaAa" + data
    chunk = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
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

    def chunk(kind, data):
        body = kind + data
        return (
            struct.pack(">I", len(data))
            + body
            + struct.pack(">I", zlib.crc32(body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
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


def tiff(order, *entries):
    """EXIF data of one directory with entries (tag, type, count, value)."""
    short, long = order + "H", order + "I"
    mark = b"II" if order == "<" else b"MM"
    data = mark + struct.pack(short, 42) + struct.pack(long, 8)
    data += struct.pack(short, len(entries))
    for tag, kind, count, value in entries:
        size = {1: "B3x", 3: "H2x", 4: "I"}[kind]
        data += struct.pack(order + "HHI" + size, tag, kind, count, value)
    return data + struct.pack(long, 0)


def photo(kind, exif, width=61, height=47):
    """A photograph's part with that EXIF data, as a file of that kind."""
    content = io.BytesIO()
    with Image.open(FILES / "rocket.jpg") as image:
        part = image.convert("RGB").crop((200, 100, 200 + width, 100 + height))
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True}
    if exif is not None:
        options["exif"] = b"Exif\0\0" + exif
    part.save(content, kind, **options)
    return content.getvalue()


@functools.cache
def in_graph(reader):
    return tf.function(reader.read_in_graph)


decode_in_graph = tf.function(decode)


def assert_read_alike(content, reader):
    """In the graph as with Pillow; returns what Pillow reads."""
    expected = reader.read(content)
    found = in_graph(reader)(tf.constant(content)).numpy()
    assert np.abs(found - expected).max() <= 2
    upright = decode_in_graph(tf.constant(content)).numpy()
    whole = ImageReader(upright.shape[:2]).read(content)
    assert np.abs(upright.astype(int) - whole).max() <= 2
    return expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied_as_pillow_does(kind):
    # A crop that is not in the middle to the pixel, in both directions.
    reader = ImageReader((26, 19), 0.8)
    seen = set()
    for order, value in itertools.product("<>", range(1, 9)):
        exif = tiff(order, (0x010F, 3, 1, 5), (0x0112, 3, 1, value))
        seen.add(assert_read_alike(photo(kind, exif), reader).tobytes())
        exif = tiff(order, (0x0112, 4, 1, value), (0x0128, 3, 1, 2))
        seen.add(assert_read_alike(photo(kind, exif), reader).tobytes())
    assert len(seen) == 8


WITHOUT = {
    "none": None,
    "empty": b"",
    "no order": b"XX" + tiff("<", (0x0112, 3, 1, 6))[2:],
    "no mark": b"II" + bytes(2) + tiff("<", (0x0112, 3, 1, 6))[4:],
    "no directory": tiff("<")[:8],
    "outside": b"II*\0\xff\xff\xff\xff",
    "before": b"MM\0*\x80\0\0\0",
    "cut": tiff(">", (0x0112, 3, 1, 6))[:-8],
    "many": b"II*\0\x08\0\0\0\xff\xff",
    "zero": tiff("<", (0x0112, 3, 1, 0)),
    "nine": tiff("<", (0x0112, 3, 1, 9)),
    "byte": tiff("<", (0x0112, 1, 1, 6)),
    "other tag": tiff("<", (0x0113, 3, 1, 6)),
}
"""EXIF data that tells no orientation."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_no_orientation(kind):
    reader = ImageReader((26, 19))
    plain = reader.read(photo(kind, None))
    # Not a test each: the graph would be prepared again for every seed.
    for case, exif in WITHOUT.items():
        read = assert_read_alike(photo(kind, exif), reader)
        np.testing.assert_array_equal(read, plain, case)


def jpeg_segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def test_exif_is_found_behind_other_segments_and_not_inside_them():
    plain = photo("JPEG", None)
    exif = b"Exif\0\0" + tiff(">", (0x0112, 3, 1, 6))
    turned = jpeg_segment(0xE1, exif)
    xmp = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    profile = jpeg_segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(60_000))
    comment = jpeg_segment(0xFE, turned)
    for before in (xmp, profile, comment, xmp + comment + profile * 3):
        inserted = plain[:2] + before + turned + plain[2:]
        assert find_orientation(tf.constant(inserted)).numpy() == 6
        assert_read_alike(inserted, ImageReader((26, 19)))
        hidden = plain[:2] + before + plain[2:]
        assert find_orientation(tf.constant(hidden)).numpy() == 1
    other = plain[:2] + jpeg_segment(0xFE, exif) + plain[2:]
    assert find_orientation(tf.constant(other)).numpy() == 1


def test_a_png_is_searched_up_to_its_pixels():
    data = tiff(">", (0x0112, 3, 1, 6))
    chunk = b"eXIf" + data
    chunk = struct.pack(">I", len(data)) + chunk
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    plain = photo("PNG", None)
    for mark, orientation in ((b"IDAT", 6), (b"IEND", 1)):
        place = plain.index(mark) - 4
        changed = plain[:place] + chunk + plain[place:]
        assert find_orientation(tf.constant(changed)).numpy() == orientation


def test_a_walk_through_a_file_ends():
    # A JPEG of empty segments, and a PNG and a WebP whose parts lead back.
    segments = b"\xff\xd8" + b"\xff\xfe\0\2" * 10**6
    chunk = b"\xff\xff\xff\xf4teSt"
    look = tf.function(find_orientation)
    look(tf.constant(segments[:100]))  # traced
    webp = b"RIFF\0\0\0\0WEBPVP8X\xff\xff\xff\xff\x08"
    for content in (
        segments,
        b"\xff\xd8" + b"\xff\xe1\0\0" * 9,
        photo("PNG", None)[:33] + chunk,
        photo("PNG", None)[:8] + bytes(100),
        webp + bytes(100),
    ):
        start = time.perf_counter()
        assert look(tf.constant(content)).numpy() == 1
        assert time.perf_counter() - start < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_damage_to_a_file_makes_its_orientation_fail(kind):
    content = photo(kind, tiff(">", (0x0112, 3, 1, 6)), 9, 7)
    look = tf.function(find_orientation)
    assert look(tf.constant(content)).numpy() == 6
    cuts = {int(look(tf.constant(content[:n]))) for n in range(0, 300, 3)}
    assert cuts <= {1, 6}
    noise = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(content)
        for place in noise.integers(2, min(len(broken), 120), 4):
            broken[place] = noise.integers(256)
        assert 1 <= look(tf.constant(bytes(broken))).numpy() <= 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_part_is_that_of_the_upright_image(kind):
    for value in range(1, 9):
        content = photo(kind, tiff("<", (0x0112, 3, 1, value)))
        upright = decode(tf.constant(content)).numpy().astype(int)
        seen = []

        def choose(sides, seen=seen):
            seen.append(tuple(sides.numpy()))
            return tf.constant([3, 5, 24, 31])

        part = decode_part(tf.constant(content), choose)
        assert seen == [upright.shape[:2]]
        expected = upright[3:27, 5:36]
        assert np.abs(part.numpy() - expected).max() <= 12
        assert np.abs(part.numpy() - expected).mean() < 1
