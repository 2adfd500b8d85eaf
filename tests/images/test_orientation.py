"""The EXIF orientation of files, found and applied in a graph."""

import functools
import io
import itertools
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from chunks import png_chunk
from PIL import Image

from gcvit_keras import ImageReader
from gcvit_keras.images.graph import decode, decode_part
from gcvit_keras.images.headers import find_orientation

FILES = Path(__file__).parent.parent / "data" / "images"


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
    chunk = png_chunk(b"eXIf", tiff(">", (0x0112, 3, 1, 6)))
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
