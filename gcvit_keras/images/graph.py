"""`ImageReader` as TensorFlow operations, for `tf.data` and served graphs.

The one file of this package that needs TensorFlow; nothing here is imported
with `gcvit_keras`.
"""

import functools

import numpy as np
import tensorflow as tf

from gcvit_keras import checks
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_keras.weights.presets import IMAGENET_MEAN

KERNELS = {
    "bilinear": "triangle",
    "bicubic": "keyscubic",
    "lanczos": "lanczos3",
}
"""TensorFlow's names of Pillow's filters."""
LONGEST_SIDE = 2**24
"""Of an image resized as a whole; float32 counts pixels no further."""
GREYS = bytes(v for grey in range(256) for v in (grey, grey, grey, 0))
"""The palette of a BMP of grey levels."""
MASKS = bytes([0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])
"""Of red, green and blue in a BMP of bit fields that TensorFlow reads."""


def read(encoded, reader, trusted=False):
    """Reads an encoded image as `ImageReader.read_in_graph` says.

    Args:
        encoded: Scalar string tensor, an image file's content.
        reader: `gcvit_keras.ImageReader`.
        trusted: See `decode`.

    Returns:
        Float32 tensor `(height, width, channels)`.

    Raises:
        ValueError: For an interpolation or channels that Pillow only has.
    """
    checks.one_of("interpolation", reader.interpolation, KERNELS)
    checks.one_of("channels", reader.channels, (1, 3))
    image = decode(encoded, reader.max_pixels, trusted)
    if reader.channels == 1:
        image = _grey(image)
    return resize_and_crop(image, reader)


def _grey(image):
    """Luma of an RGB image, uint8, as Pillow rounds it."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    luma = 19595 * red + 38470 * green + 7471 * blue + 2**15
    return tf.cast(luma // 2**16, tf.uint8)[..., None]


def decode(encoded, max_pixels=MAX_PIXELS, trusted=False):
    """Decodes a JPEG, PNG, WebP or BMP.

    Not WebP animations, nor BMP of colour palettes or of bit fields in another
    order, of which TensorFlow gives wrong colours.

    Args:
        encoded: Scalar string tensor, an image file's content.
        max_pixels: Height times width above which an image is refused. They
            are read from its header, before anything is allocated for it.
        trusted: Whether to decode GIF, too: all its frames, which may be
            larger than its header says.

    Returns:
        Uint8 tensor `(height, width, 3)`. An operation fails where the image
        is too large, broken, or of another format. EXIF rotation is not
        applied.
    """
    pixels = header_pixels(encoded, trusted)
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


def header_pixels(encoded, trusted=False):
    """Height times width that an image file's header tells.

    Args:
        encoded: Scalar string tensor.
        trusted: See `decode`.

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
    if trusted:
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


def resize_and_crop(image, reader):
    """Makes a model's input of a decoded image, as Pillow to a grey level.

    Only the crop is computed: an elongated image is not resized as a whole.
    An operation fails where that would still take more than `max_pixels`.

    Args:
        image: Tensor `(height, width, channels)`, pixels in [0, 255].
        reader: `gcvit_keras.ImageReader`.

    Returns:
        Float32 tensor `(*reader.size, channels)` of whole numbers in [0, 255].
    """
    size = reader.size
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    # As float64, in which no number of pixels is too large.
    scaled = [tf.constant(side, tf.float64) for side in reader.resized_size]
    if reader.crop_mode == "center":
        ratio = tf.reduce_max(tf.stack(scaled) / sides)
        # See `load.read`.
        whole = tf.round if size[0] != size[1] else _truncate
        scaled = [
            tf.maximum(whole(sides[axis] * ratio), float(size[axis]))
            for axis in (0, 1)
        ]
    fits = tf.debugging.assert_less_equal(
        tf.stack([sides[0] * size[1], *scaled]),
        tf.constant(
            [reader.max_pixels, LONGEST_SIDE, LONGEST_SIDE], tf.float64
        ),
        "image too elongated",
    )
    with tf.control_dependencies([fits]):
        image = tf.identity(image)
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
            kernel_type=KERNELS[reader.interpolation],
            antialias=True,
        )
        image = tf.clip_by_value(tf.round(image), 0, 255)
    return tf.ensure_shape(image[0], (*size, image.shape[-1]))


def _truncate(value):
    return tf.floor(value + 1e-6)


def or_grey(read, size, when_broken=None, channels=3):
    """An image, or a grey one where reading it fails.

    A failing operation ends a graph. Only `ignore_errors` of `tf.data` stops
    that, and it leaves a gap; so an image is a pipeline of one, that has a
    second element for when the first is missing.

    Args:
        read: Function that returns a float32 tensor `(*size, channels)`.
        size: `(height, width)`.
        when_broken: Function called in the graph where reading fails.
        channels: 1 or 3.

    Returns:
        Float32 tensor `(*size, channels)`, and a scalar boolean: whether it
        could be read.
    """

    def grey(_):
        if when_broken is not None:
            when_broken()
        mean = 255 * np.float32(IMAGENET_MEAN)
        if channels == 1:
            mean = mean.mean()
        return tf.broadcast_to(mean, (*size, channels)), False

    one = tf.data.Dataset.from_tensors(0)
    image, valid = (
        one.map(lambda _: (read(), True))
        .ignore_errors()
        .concatenate(one.map(grey))
        .take(1)
        .get_single_element()
    )
    return tf.ensure_shape(image, (*size, channels)), valid
