"""The size and the EXIF orientation of image files, read in a graph.

The files are read with TensorFlow's string operations, and may be malicious:
bytes behind the end of a file read as zeros, and every loop over its parts
ends. A file of an unknown or broken format has no pixels, and orientation 1.
"""

import numpy as np
import tensorflow as tf

MOST_CHUNKS = 64
"""Largest number of parts of a file that are searched for EXIF data."""
MOST_EXIF = 2**16
"""Largest number of bytes of EXIF data that are read; a JPEG has no more."""
ORIENTATION = 0x0112
"""Tag of the orientation in EXIF data."""
NOWHERE = np.int64(0)
"""Place in a file that stands for its end: no part of it begins at 0."""
SHORT, LONG = 3, 4
"""Types of a value in EXIF data: unsigned integers of 2 and of 4 bytes."""


def count_pixels(encoded, trusted=False):
    """Reads the size of an image from its file's header.

    Args:
        encoded: Scalar string tensor, the content of a JPEG, PNG, WebP (no
            animation) or BMP file (24 or 32 bits, not compressed).
        trusted: Whether GIF is known, too, whose header may lie.

    Returns:
        Int64 scalar, height times width; 0 where the format is none of these
        or the header is incomplete.
    """
    head = tf.strings.substr(encoded, 0, 34)

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded, output_type=tf.int64)
        return shape[0] * shape[1]

    def bmp():
        # A negative height means that the top row comes first.
        width, height = (_signed(_number(head, at, 4)) for at in (18, 22))
        bits, compression = _number(head, 28, 2), _number(head, 30, 4)
        known = (_number(head, 14, 4) >= 40) & (compression == 0)
        known &= (bits == 24) | (bits == 32)
        return tf.cast(known, tf.int64) * tf.abs(width) * tf.abs(height)

    def webp_lossy():
        width, height = _number(head, 26, 2), _number(head, 28, 2)
        return (width % 2**14) * (height % 2**14)

    def webp_lossless():
        bits = _number(head, 21, 4)
        return (bits % 2**14 + 1) * (bits // 2**14 % 2**14 + 1)

    def webp_extended():
        is_still = 1 - _bit(_number(head, 20, 1), 1)
        width, height = _number(head, 24, 3) + 1, _number(head, 27, 3) + 1
        return is_still * width * height

    # All bytes that decoders recognise a format by are compared: a decoder must
    # not take the file for another format than the one measured here.
    webp = _is_webp(head)
    formats = [
        (_has(head, 0, b"\xff\xd8\xff"), jpeg),
        (
            _has(head, 0, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
            lambda: _number(head, 16, 4, True) * _number(head, 20, 4, True),
        ),
        (_has(head, 0, b"BM"), bmp),
        (webp & _has(head, 12, b"VP8 "), webp_lossy),
        (webp & _has(head, 12, b"VP8L"), webp_lossless),
        (webp & _has(head, 12, b"VP8X"), webp_extended),
    ]
    if trusted:
        sides = (_number(head, 6, 2), _number(head, 8, 2))
        formats.append((_has(head, 0, b"GIF8"), lambda: sides[0] * sides[1]))
    return tf.case(formats, default=lambda: tf.constant(0, tf.int64))


def is_webp_with_alpha(encoded):
    """Tells whether a file, a string tensor, is a WebP with transparency."""
    head = tf.strings.substr(encoded, 0, 34)
    extended = _has(head, 12, b"VP8X") & (_bit(_number(head, 20, 1), 4) == 1)
    lossless = _has(head, 12, b"VP8L") & (_bit(_number(head, 21, 4), 28) == 1)
    return _is_webp(head) & (extended | lossless)


def find_orientation(encoded):
    """Reads the EXIF orientation, from 1 to 8, of a JPEG, PNG or WebP file.

    A PNG is searched up to its pixels only: the programs that write EXIF data
    into PNGs put it before them.
    """
    head = tf.strings.substr(encoded, 0, 34)
    webp = _is_webp(head) & _has(head, 12, b"VP8X")
    webp &= _bit(_number(head, 20, 1), 3) == 1
    formats = [
        (_has(head, 0, b"\xff\xd8\xff"), lambda: _exif(encoded, 2, _segment)),
        (_has(head, 0, b"\x89PNG"), lambda: _exif(encoded, 8, _png_chunk)),
        (webp, lambda: _exif(encoded, 12, _webp_chunk)),
    ]
    exif = tf.case(formats, default=lambda: tf.constant(b""))
    return tf.cond(
        tf.strings.length(exif) > 0,
        lambda: _tiff_orientation(exif),
        lambda: tf.constant(1, tf.int64),
    )


def _exif(encoded, start, part_at):
    """Finds the EXIF data of a file of parts; an empty string if it has none.

    `part_at`, a function of the file and of a place in it, returns whether the
    part there is EXIF data, where its content begins, how long that is, and
    where the next part begins.
    """

    def step(count, place, start, size):
        is_exif, content, length, following = part_at(encoded, place)
        return (
            count + 1,
            following,
            tf.where(is_exif, content, start),
            tf.where(is_exif, length, size),
        )

    _, _, start, size = tf.while_loop(
        lambda count, place, start, size: (
            (count < MOST_CHUNKS) & (place > NOWHERE) & (start == NOWHERE)
        ),
        step,
        (0, np.int64(start), NOWHERE, NOWHERE),
    )
    exif = _part(encoded, start, tf.minimum(size, np.int64(MOST_EXIF)))
    return tf.cond(
        _has(exif, 0, b"Exif\0\0"),
        lambda: tf.strings.substr(exif, 6, MOST_EXIF),
        lambda: exif,
    )


def _segment(encoded, place):
    head = _part(encoded, place, 10)
    marker, size = _number(head, 1, 1), _number(head, 2, 2, True)
    # Segments for applications, and comments: they come before all others.
    is_known = (marker // 16 == 0xE) | (marker == 0xFE)
    is_known &= (_number(head, 0, 1) == 0xFF) & (size >= 2)
    is_exif = is_known & (marker == 0xE1) & _has(head, 4, b"Exif\0\0")
    following = tf.where(is_known, place + 2 + size, NOWHERE)
    return is_exif, place + 4, size - 2, following


def _png_chunk(encoded, place):
    head = _part(encoded, place, 8)
    size, pixels = _number(head, 0, 4, True), _has(head, 4, b"IDAT")
    following = tf.where(pixels, NOWHERE, place + 12 + size)
    return _has(head, 4, b"eXIf"), place + 8, size, following


def _webp_chunk(encoded, place):
    head = _part(encoded, place, 8)
    size = _number(head, 4, 4)
    return _has(head, 0, b"EXIF"), place + 8, size, place + 8 + size + size % 2


def _tiff_orientation(exif):
    """Reads the orientation in the first directory of EXIF data."""
    big = _has(exif, 0, b"MM\0*")
    place = _number(exif, 4, 4, big)
    count = _number(exif, place, 2, big)
    entries = tf.io.decode_raw(_part(exif, place + 2, 12 * count), tf.uint8)
    whole = tf.size(entries) // 12
    entries = tf.cast(tf.reshape(entries[: 12 * whole], (-1, 12)), tf.int64)
    # (entries, 12): tag, type, number of values, and the value itself.
    tag, kind = _join(entries[:, :2], big), _join(entries[:, 2:4], big)
    values = _join(entries[:, 4:8], big)
    short, long = _join(entries[:, 8:10], big), _join(entries[:, 8:12], big)
    value = tf.where(kind == SHORT, short, long)
    right = (tag == ORIENTATION) & ((kind == SHORT) | (kind == LONG))
    right &= (values == 1) & (value >= 1) & (value <= 8)
    right &= big | _has(exif, 0, b"II*\0")
    return tf.concat([np.int64([1]), value[right]], 0)[-1]


def _part(content, start, size):
    """Cuts out `size` bytes from a place on, or as many as there are."""
    length = tf.strings.length(content)
    start = tf.minimum(tf.cast(start, tf.int64), tf.cast(length, tf.int64))
    return tf.strings.substr(content, start, tf.cast(size, tf.int64))


def _number(content, start, size, big_endian=False):
    """Reads an unsigned integer of `size` bytes, as int64."""
    part = _part(content, start, size) + b"\0" * size
    part = tf.io.decode_raw(tf.strings.substr(part, 0, size), tf.uint8)
    return _join(tf.cast(tf.ensure_shape(part, (size,)), tf.int64), big_endian)


def _join(digits, big_endian):
    """Makes integers of their bytes, which are along the last axis."""
    digits = tf.where(big_endian, digits[..., ::-1], digits)
    places = tf.range(digits.shape[-1], dtype=tf.int64)
    return tf.reduce_sum(digits * 256**places, -1)


def _signed(number):
    return tf.where(number < 2**31, number, number - 2**32)


def _bit(number, place):
    return number // 2**place % 2


def _has(content, start, mark):
    return _part(content, start, len(mark)) == mark


def _is_webp(head):
    return _has(head, 0, b"RIFF") & _has(head, 8, b"WEBP")
