"""Label maps: numbers of pixels from PNG files, and classes from numbers."""

import zlib

import numpy as np
import tensorflow as tf

from gcvit_keras.segmentation.losses import IGNORED

UNKNOWN = -1
"""What a table gives for numbers that no class has."""
SIGNATURE = list(b"\x89PNG\r\n\x1a\n")
_BYTES = [bytes([i]) for i in range(256)]
_CRC_STEPS = [
    zlib.crc32(bytes([i ^ 255])) ^ 0xFFFFFFFF ^ 0x00FFFFFF for i in range(256)
]
"""What each byte does to a CRC-32."""
_LEVELS = {1: 255, 2: 85, 4: 17, 8: 1}
"""By bits per pixel: what a decoder multiplies grey levels with."""


def make_table(classes, reduce_zero_label=False, numbers=None):
    """Makes a table from the numbers in label maps to classes.

    Args:
        classes: Number of classes, an integer.
        reduce_zero_label: Whether 0 is no class and the others count from 1.
        numbers: Number of each class in label maps, where they do not simply
            count; then 0 is no class unless it is among them.

    Returns:
        Int32 array `(256,)`: classes, `IGNORED`, or `UNKNOWN`.

    Raises:
        ValueError: If there are more classes than numbers.
    """
    if numbers is None:
        first = int(reduce_zero_label)
        numbers = range(first, first + classes)
        ignored = {IGNORED, *range(first)}
    else:
        ignored = {IGNORED, 0}
    if max(numbers) >= IGNORED:
        raise ValueError(
            "label maps must be of 8 bits, in which there are numbers for "
            f"{IGNORED} classes. Received: {classes} classes"
        )
    table = np.full(256, UNKNOWN, "int32")
    table[list(ignored)] = IGNORED
    for number, label in zip(numbers, range(classes), strict=True):
        table[number] = label
    return table


def decode_numbers(encoded):
    """Decodes a label map, of a palette the indices and not the colours.

    TensorFlow decodes a palette's colours only. So the file's header is made
    to say that it is grey, and the palette left out: then the indices are its
    levels.

    Args:
        encoded: Scalar string tensor, the content of a PNG file of at most 8
            bits, grey or with a palette.

    Returns:
        Uint8 tensor `(height, width)`. An operation fails where the file is
        broken or of another kind.
    """
    is_long = tf.debugging.assert_greater(
        tf.strings.length(encoded), 33, "no PNG, or nothing"
    )
    with tf.control_dependencies([is_long]):
        header = tf.strings.substr(encoded, 0, 33)
    header = tf.io.decode_raw(header, tf.uint8)
    header = tf.ensure_shape(tf.cast(header, tf.int64), (33,))
    signature = tf.constant(SIGNATURE, tf.int64)
    depth, kind = header[24], header[25]
    is_map = [
        tf.debugging.assert_equal(header[:8], signature, "no PNG"),
        tf.debugging.assert_equal(
            (kind == 0) | (kind == 3),
            True,
            "a PNG of colours without a palette, where numbers are wanted",
        ),
        tf.debugging.assert_less_equal(
            depth, tf.constant(8, tf.int64), "a PNG of more than 8 bits"
        ),
    ]
    with tf.control_dependencies(is_map):
        grey = tf.constant([0], tf.int64)
        chunk = tf.concat([header[12:25], grey, header[26:29]], 0)
    header = tf.concat([header[:12], chunk, _crc(chunk)], 0)
    header = tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), header))
    begin = _first_pixels(encoded)
    rest = tf.strings.substr(encoded, begin, tf.strings.length(encoded) - begin)
    levels = tf.io.decode_png(header + rest, channels=1)[..., 0]
    bits = tf.constant(list(_LEVELS), tf.int64)
    factor = tf.reduce_sum(
        tf.where(bits == depth, tf.constant(list(_LEVELS.values())), 0)
    )
    return levels // tf.cast(factor, tf.uint8)


def _first_pixels(encoded):
    """Where the first chunk of pixels begins, an int32 scalar."""

    def is_other(begin):
        return tf.strings.substr(encoded, begin + 4, 4) != b"IDAT"

    def next_one(begin):
        length = tf.strings.substr(encoded, begin, 4)
        length = tf.io.decode_raw(length, tf.int32, little_endian=False)[0]
        ahead = tf.debugging.assert_non_negative(length, "no PNG")
        with tf.control_dependencies([ahead]):
            return (begin + 12 + length,)

    return tf.while_loop(is_other, next_one, (tf.constant(33),))[0]


def _crc(content):
    """CRC-32 of some bytes, an int64 tensor of four bytes."""
    crc = tf.constant(2**32 - 1, tf.int64)
    for byte in tf.unstack(content):
        place = tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(crc, byte), 255)
        step = tf.gather(tf.constant(_CRC_STEPS, tf.int64), place)
        crc = tf.bitwise.bitwise_xor(step, crc // 256)
    crc = 2**32 - 1 - crc
    return crc // tf.constant([2**24, 2**16, 2**8, 1], tf.int64) % 256


def to_classes(numbers, table):
    """Gives each pixel its class.

    Args:
        numbers: Uint8 tensor `(height, width)`, from `decode_numbers`.
        table: As `make_table` returns.

    Returns:
        Int32 tensor `(height, width)`: classes and `IGNORED`. An operation
        fails where a number is of no class.
    """
    labels = tf.gather(tf.constant(table), tf.cast(numbers, tf.int32))
    known = tf.debugging.assert_greater_equal(
        tf.reduce_min(labels), 0, "a number of no class"
    )
    with tf.control_dependencies([known]):
        return tf.identity(labels)
