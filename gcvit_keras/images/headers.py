"""The size and the EXIF orientation of image files, read in a graph.

The files are read with TensorFlow's string operations, and may be malicious:
bytes behind the end of a file read as zeros, and every loop over its parts
ends. A file of an unknown or broken format has no pixels, and orientation 1.
What the numbers in every format would be is computed, and one is chosen: that
takes fewer operations than a branch for each format.
"""

import numpy as np
import tensorflow as tf

HEAD = 34
"""Bytes at the beginning of a file in which its format and size stand."""
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

# All bytes that decoders recognise a format by: place -> bytes. A decoder must
# not take a file for another format than the one measured here.
JPEG = {0: b"\xff\xd8\xff"}
PNG = {0: b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"}
BMP = {0: b"BM"}
GIF = {0: b"GIF8"}
WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED = (
    {0: b"RIFF", 8: b"WEBPVP8" + kind} for kind in (b" ", b"L", b"X")
)
EXIF = b"Exif\0\0"
"""What EXIF data begin with in a JPEG, and at times in other formats."""

# Numbers in the head of a file, and of a part of it: first byte, and how many.
PNG_SIDES = {"width": (16, 4), "height": (20, 4)}
OTHER_SIDES = {
    "bmp_header": (14, 4),
    "bmp_width": (18, 4),
    "bmp_height": (22, 4),
    "bmp_depth": (28, 2),
    "bmp_compression": (30, 4),
    "lossy_width": (26, 2),
    "lossy_height": (28, 2),
    "lossless_sides": (21, 4),
    "flags": (20, 1),
    "extended_width": (24, 3),
    "extended_height": (27, 3),
    "gif_width": (6, 2),
    "gif_height": (8, 2),
}
SEGMENT = {"mark": (0, 1), "kind": (1, 1), "size": (2, 2)}
PNG_CHUNK = {"size": (0, 4)}
WEBP_CHUNK = {"size": (4, 4)}
# Of EXIF data, and of an entry in them.
DIRECTORY = {"place": (4, 4)}
ENTRIES = {"count": (0, 2)}
ENTRY = {
    "tag": (0, 2),
    "type": (2, 2),
    "values": (4, 4),  # how many
    "short": (8, 2),
    "long": (8, 4),
}


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
    head = _bytes(encoded, 0, HEAD)
    formats = PNG, BMP, WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED, GIF
    is_jpeg, is_format = _have(head, JPEG)[0], _have(head, *formats)
    png = _numbers(head, PNG_SIDES, is_big_endian=True)
    n = _numbers(head, OTHER_SIDES)
    is_plain = (n["bmp_header"] >= 40) & (n["bmp_compression"] == 0)
    is_plain &= (n["bmp_depth"] == 24) | (n["bmp_depth"] == 32)
    is_still = _bit(n["flags"], 1) == 0
    sides = [
        (png["width"], png["height"]),
        # A negative height means that the top row comes first.
        (tf.abs(_signed(n["bmp_width"])), tf.abs(_signed(n["bmp_height"]))),
        (n["lossy_width"] % 2**14, n["lossy_height"] % 2**14),
        (
            n["lossless_sides"] % 2**14 + 1,
            n["lossless_sides"] // 2**14 % 2**14 + 1,
        ),
        (n["extended_width"] + 1, n["extended_height"] + 1),
        (n["gif_width"], n["gif_height"]),
    ]
    pixels = tf.reduce_prod(tf.stack(sides), -1)
    is_read = tf.stack([True, is_plain, True, True, is_still, trusted])

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded, output_type=tf.int64)
        return shape[0] * shape[1]

    return tf.cond(
        is_jpeg,
        jpeg,
        lambda: tf.reduce_sum(tf.where(is_format & is_read, pixels, 0)),
    )


def is_webp_with_alpha(encoded):
    """Tells whether a file, a string tensor, is a WebP with transparency."""
    head = _bytes(encoded, 0, HEAD)
    lossless, extended = tf.unstack(_have(head, WEBP_LOSSLESS, WEBP_EXTENDED))
    n = _numbers(head, OTHER_SIDES)
    lossless &= _bit(n["lossless_sides"], 28) == 1
    return lossless | extended & (_bit(n["flags"], 4) == 1)


def find_orientation(encoded):
    """Reads the EXIF orientation, from 1 to 8, of a JPEG, PNG or WebP file.

    A PNG is searched up to its pixels only: the programs that write EXIF data
    into PNGs put it before them.
    """
    head = _bytes(encoded, 0, HEAD)
    jpeg, png, webp = tf.unstack(
        _have(head, JPEG, {0: PNG[0][:4]}, WEBP_EXTENDED)
    )
    webp &= _bit(head[20], 3) == 1
    exif = _exif(encoded, jpeg, png, webp)
    return tf.cond(
        tf.strings.length(exif) > 0,
        lambda: _tiff_orientation(exif),
        lambda: tf.constant(1, tf.int64),
    )


def _exif(encoded, jpeg, png, webp):
    """Finds the EXIF data of a file of a format; an empty string if none.

    A JPEG's parts are segments, those of PNG and WebP chunks.
    """
    formats = tf.stack([jpeg, png, webp])

    def by_format(*values):
        """Chooses the format's number; 0 of another format."""
        values = tf.stack([tf.cast(value, tf.int64) for value in values])
        return tf.reduce_sum(tf.where(formats, values, 0))

    def step(count, place, start, size):
        head = _bytes(encoded, place, 10)
        segment = _numbers(head, SEGMENT, is_big_endian=True)
        png_size = _numbers(head, PNG_CHUNK, is_big_endian=True)["size"]
        webp_size = _numbers(head, WEBP_CHUNK)["size"]
        jpeg_exif, png_exif, webp_exif, png_pixels = tf.unstack(
            _have(head, {4: EXIF}, {4: b"eXIf"}, {0: b"EXIF"}, {4: b"IDAT"})
        )
        # Segments for applications, and comments: they come before all others.
        kind = segment["kind"]
        is_known = (kind // 16 == 0xE) | (kind == 0xFE)
        is_known &= (segment["mark"] == 0xFF) & (segment["size"] >= 2)
        jpeg_exif &= is_known & (kind == 0xE1)
        is_exif = jpeg & jpeg_exif | png & png_exif | webp & webp_exif
        is_last = jpeg & ~is_known | png & png_pixels
        # Where a part's content begins, its length, and that of what follows.
        content = place + by_format(4, 8, 8)
        length = by_format(segment["size"] - 2, png_size, webp_size)
        following = content + length + by_format(0, 4, webp_size % 2)
        return (
            count + 1,
            tf.where(is_last, NOWHERE, following),
            tf.where(is_exif, content, start),
            tf.where(is_exif, length, size),
        )

    _, _, start, size = tf.while_loop(
        lambda count, place, start, size: (
            (count < MOST_CHUNKS) & (place > NOWHERE) & (start == NOWHERE)
        ),
        step,
        (0, by_format(2, 8, 12), NOWHERE, NOWHERE),
    )
    exif = _part(encoded, start, tf.minimum(size, np.int64(MOST_EXIF)))
    has_mark = tf.strings.substr(exif, 0, len(EXIF)) == EXIF
    return _part(exif, tf.where(has_mark, len(EXIF), 0), MOST_EXIF)


def _tiff_orientation(exif):
    """Reads the orientation in the first directory of EXIF data."""
    head = _bytes(exif, 0, 8)
    big, little = tf.unstack(_have(head, {0: b"MM\0*"}, {0: b"II*\0"}))
    place = _numbers(head, DIRECTORY, big)["place"]
    count = _numbers(_bytes(exif, place, 2), ENTRIES, big)["count"]
    entries = tf.io.decode_raw(_part(exif, place + 2, 12 * count), tf.uint8)
    whole = tf.size(entries) // 12
    entries = tf.cast(tf.reshape(entries[: 12 * whole], (-1, 12)), tf.int64)
    n = _numbers(entries, ENTRY, big)
    value = tf.where(n["type"] == SHORT, n["short"], n["long"])
    right = (n["tag"] == ORIENTATION) & (n["values"] == 1) & (big | little)
    right &= (n["type"] == SHORT) | (n["type"] == LONG)
    right &= (value >= 1) & (value <= 8)
    return tf.concat([np.int64([1]), value[right]], 0)[-1]


def _part(content, start, size):
    """Cuts out `size` bytes from a place on, or as many as there are."""
    length = tf.strings.length(content)
    start = tf.minimum(tf.cast(start, tf.int64), tf.cast(length, tf.int64))
    return tf.strings.substr(content, start, tf.cast(size, tf.int64))


def _bytes(content, start, size):
    """Reads `size` bytes from a place on, an int64 tensor `(size,)`."""
    part = _part(content, start, size)
    part = tf.io.decode_raw(part, tf.uint8, fixed_length=size)
    return tf.cast(tf.ensure_shape(part, (size,)), tf.int64)


def _have(content, *marks):
    """Tells for each of some marks whether bytes have it.

    Args:
        content: Int64 tensor `(size,)`.
        *marks: Dicts of the place of some bytes to these bytes.

    Returns:
        Boolean tensor `(marks,)`.
    """
    wanted = np.full((len(marks), content.shape[0]), -1)
    for row, mark in zip(wanted, marks, strict=True):
        for place, part in mark.items():
            row[place : place + len(part)] = list(part)
    same = (content == wanted) | (wanted < 0)
    return tf.reduce_all(same, -1)


def _numbers(content, places, is_big_endian=False):
    """Reads unsigned integers.

    Args:
        content: Int64 tensor `(..., size)` of bytes.
        places: Dict of name to `(first byte, number of bytes)`.
        is_big_endian: Boolean scalar, whether the first byte counts most.

    Returns:
        Dict of name to int64 tensor `(...)`.
    """
    little, big = np.zeros((2, len(places), content.shape[-1]), np.int64)
    for row, (first, size) in enumerate(places.values()):
        little[row, first : first + size] = 256 ** np.arange(size)
        big[row, first : first + size] = 256 ** np.arange(size)[::-1]
    if tf.is_tensor(is_big_endian):
        weights = tf.where(is_big_endian, big, little)
    else:
        weights = big if is_big_endian else little
    numbers = tf.reduce_sum(content[..., None, :] * weights, -1)
    return dict(zip(places, tf.unstack(numbers, axis=-1), strict=True))


def _signed(number):
    return tf.where(number < 2**31, number, number - 2**32)


def _bit(number, place):
    return number // 2**place % 2
