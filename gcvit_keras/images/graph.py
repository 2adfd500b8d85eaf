"""`load_image` as TensorFlow operations, for `tf.data` and for served graphs.

The one file of this package that needs TensorFlow; nothing here is imported
with `gcvit_keras`.
"""

import functools
import math

import tensorflow as tf

from gcvit_keras.weights.presets import IMAGENET_MEAN

MAX_PIXELS = 89_478_485
"""Largest image that is decoded by default; Pillow's limit."""
LONGEST_SIDE = 2**24
"""Of an image resized as a whole; float32 counts pixels no further."""
GREYS = bytes(v for grey in range(256) for v in (grey, grey, grey, 0))
"""The palette of a BMP of grey levels."""
MASKS = bytes([0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])
"""Of red, green and blue in a BMP of bit fields that TensorFlow reads."""


def decode(encoded, max_pixels=MAX_PIXELS, gif=False):
    """Decodes a JPEG, PNG, WebP or BMP.

    Not WebP animations, nor BMP of colour palettes or of bit fields in another
    order, of which TensorFlow gives wrong colours.

    Args:
        encoded: Scalar string tensor, an image file's content.
        max_pixels: Height times width above which an image is refused. They
            are read from its header, before anything is allocated for it.
        gif: Whether to decode GIF, too: all its frames, which may be larger
            than its header says, so only of files that are trusted.

    Returns:
        Uint8 tensor `(height, width, 3)`. An operation fails where the image
        is too large, broken, or of another format. EXIF rotation is not
        applied.
    """
    pixels = header_pixels(encoded, gif)
    checks = [
        tf.debugging.assert_positive(pixels, "not an image"),
        tf.debugging.assert_less_equal(
            pixels, tf.constant(max_pixels, tf.int64), "image too large"
        ),
    ]
    with tf.control_dependencies(checks):
        encoded = tf.identity(encoded)
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        # Pillow's way; TensorFlow's own default is faster and less exact.
        lambda: tf.io.decode_jpeg(
            encoded, channels=3, dct_method="INTEGER_ACCURATE"
        ),
        # TensorFlow reads a WebP with the channels that it has only.
        lambda: tf.cond(
            _is_webp_with_alpha(encoded),
            lambda: tf.io.decode_image(
                encoded, channels=4, expand_animations=False
            )[..., :3],
            lambda: tf.io.decode_image(
                encoded, channels=3, expand_animations=False
            ),
        ),
    )
    return tf.ensure_shape(image, (None, None, 3))


def header_pixels(encoded, gif=False):
    """Height times width that an image file's header tells.

    Args:
        encoded: Scalar string tensor.
        gif: See `decode`.

    Returns:
        Int64 scalar; 0 where `decode` does not know the format or the header
        is incomplete.
    """
    head = _head(encoded)
    number = functools.partial(_number, head)

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded, output_type=tf.int64)
        return shape[0] * shape[1]

    def bmp():
        # 32 bits with a sign; a negative height means top row first.
        width, height = (
            tf.cast(
                tf.bitcast(tf.cast(number(at, 4), tf.uint32), tf.int32),
                tf.int64,
            )
            for at in (18, 22)
        )
        bits, compression = number(28, 2), number(30, 4)

        def follows(content):
            start = tf.strings.substr(encoded, 0, 54 + len(content))
            after = tf.strings.substr(start + b"\0" * 54, 54, len(content))
            return after == content

        known = (number(14, 4) >= 40) & (
            ((compression == 0) & ((bits == 24) | (bits == 32)))
            | ((compression == 3) & (bits == 32) & follows(MASKS))
            | ((compression == 0) & (bits == 8) & follows(GREYS))
        )
        return tf.cast(known, tf.int64) * tf.abs(width) * tf.abs(height)

    def webp_lossless():
        bits = number(21, 4)
        return (bits % 2**14 + 1) * (bits // 2**14 % 2**14 + 1)

    def webp_extended():
        is_still = 1 - number(20, 1) // 2 % 2
        return is_still * (number(24, 3) + 1) * (number(27, 3) + 1)

    def webp():
        return tf.case(
            [
                (
                    _has(head, 12, b"VP8 "),
                    lambda: (number(26, 2) % 2**14) * (number(28, 2) % 2**14),
                ),
                (_has(head, 12, b"VP8L"), webp_lossless),
                (_has(head, 12, b"VP8X"), webp_extended),
            ],
            default=lambda: tf.constant(0, tf.int64),
        )

    # By all that decoders go by, and no less: they must not take for another
    # format, or find elsewhere, what is measured here.
    formats = [
        (_has(head, 0, b"\xff\xd8\xff"), jpeg),
        (
            _has(head, 0, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
            lambda: number(16, 4, True) * number(20, 4, True),
        ),
        (_has(head, 0, b"BM"), bmp),
        (_is_webp(head), webp),
    ]
    if gif:
        formats.append(
            (_has(head, 0, b"GIF8"), lambda: number(6, 2) * number(8, 2))
        )
    return tf.case(
        formats,
        default=lambda: tf.constant(0, tf.int64),
    )


def _head(encoded):
    """The first bytes, as if zeros followed a short file."""
    return tf.strings.substr(encoded, 0, 34) + tf.constant(b"\0" * 34)


def _number(head, start, size, big_endian=False):
    """An unsigned integer of so many bytes, as int64."""
    part = tf.strings.substr(head, start, size)
    byte = tf.cast(tf.io.decode_raw(part, tf.uint8), tf.int64)
    if big_endian:
        byte = byte[::-1]
    return tf.reduce_sum(byte * 256 ** tf.range(size, dtype=tf.int64))


def _has(head, start, mark):
    return tf.strings.substr(head, start, len(mark)) == mark


def _is_webp(head):
    return _has(head, 0, b"RIFF") & _has(head, 8, b"WEBP")


def _is_webp_with_alpha(encoded):
    head = _head(encoded)
    extended = _has(head, 12, b"VP8X") & (_number(head, 20, 1) // 16 % 2 == 1)
    lossless = _has(head, 12, b"VP8L") & (
        _number(head, 21, 4) // 2**28 % 2 == 1
    )
    return _is_webp(head) & (extended | lossless)


def resize_and_crop(
    image,
    size,
    crop_ratio,
    crop_mode,
    interpolation,
    max_pixels=MAX_PIXELS,
):
    """What `load_image` makes of a decoded image, to a grey level.

    Only the crop is computed: an elongated image is not resized as a whole.
    An operation fails where that would still take more than `max_pixels`.

    Args:
        image: Tensor `(height, width, channels)`, pixels in [0, 255].
        size: `(height, width)` of the result, integers.
        crop_ratio: See `load_image`, as for the rest.
        crop_mode: `"center"` or `"squash"`.
        interpolation: `"bilinear"` or `"bicubic"`.
        max_pixels: Pixels at most of anything that is computed.

    Returns:
        Float32 tensor `(*size, channels)` of whole numbers in [0, 255].
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    # As float64, in which no number of pixels is too large.
    scaled = [tf.constant(math.floor(s / crop_ratio), tf.float64) for s in size]
    if crop_mode == "center":
        ratio = tf.reduce_max(tf.stack(scaled) / sides)
        # See `load_image`.
        whole = tf.round if size[0] != size[1] else _truncate
        scaled = [
            tf.maximum(whole(sides[axis] * ratio), float(size[axis]))
            for axis in (0, 1)
        ]
    fits = tf.debugging.assert_less_equal(
        tf.stack([sides[0] * size[1], *scaled]),
        tf.constant([max_pixels, LONGEST_SIDE, LONGEST_SIDE], tf.float64),
        "image too elongated",
    )
    with tf.control_dependencies([fits]):
        image = tf.identity(image)
    kernel = {"bilinear": "triangle", "bicubic": "keyscubic"}[interpolation]
    image = image[None]
    # Columns, then rows, each rounded, as Pillow does.
    for axis in (1, 0):
        first = tf.round((scaled[axis] - size[axis]) / 2)
        factor = tf.cast(scaled[axis] / sides[axis], tf.float32)
        others = (tf.constant(1.0), tf.constant(0.0), tf.shape(image)[2 - axis])
        ours = (factor, -tf.cast(first, tf.float32), size[axis])
        scale, translation, target = (
            tf.stack([o, t] if axis == 0 else [t, o])
            for o, t in zip(ours, others, strict=True)
        )
        image = tf.raw_ops.ScaleAndTranslate(
            images=image,
            size=target,
            scale=scale,
            translation=translation,
            kernel_type=kernel,
            antialias=True,
        )
        image = tf.clip_by_value(tf.round(image), 0, 255)
    return tf.ensure_shape(image[0], (*size, image.shape[-1]))


def _truncate(value):
    return tf.floor(value + 1e-6)


def or_grey(read, size, when_broken=None):
    """An image, or a grey one where reading it fails.

    A failing operation ends a graph. Only `ignore_errors` of `tf.data` stops
    that, and it leaves a gap; so an image is a pipeline of one, that has a
    second element for when the first is missing.

    Args:
        read: Function that returns a float32 tensor `(*size, 3)`.
        size: `(height, width)`.
        when_broken: Function called in the graph where reading fails.

    Returns:
        Float32 tensor `(*size, 3)`, and a scalar boolean: whether it could
        be read.
    """

    def grey(_):
        if when_broken is not None:
            when_broken()
        return tf.broadcast_to(255 * tf.constant(IMAGENET_MEAN), (*size, 3)), (
            False
        )

    one = tf.data.Dataset.from_tensors(0)
    image, valid = (
        one.map(lambda _: (read(), True))
        .ignore_errors()
        .concatenate(one.map(grey))
        .take(1)
        .get_single_element()
    )
    return tf.ensure_shape(image, (*size, 3)), valid
