"""`ImageReader` as TensorFlow operations, for `tf.data` and served graphs.

Of this package only this file and `headers.py` need TensorFlow; neither is
imported with `gcvit_keras`.
"""

import numpy as np
import tensorflow as tf

from gcvit_keras import checks
from gcvit_keras.images.headers import (
    count_pixels,
    find_orientation,
    is_webp_with_alpha,
)
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_keras.images.sides import resized_sides
from gcvit_keras.weights.presets import PIXEL_MEAN

KERNELS = {
    "bilinear": "triangle",
    "bicubic": "keyscubic",
    "lanczos": "lanczos3",
}
"""TensorFlow's names of Pillow's filters."""
LONGEST_SIDE = 2**24
"""Largest side of a resized image; float32 counts pixels no further."""


def read(encoded, reader, trusted=False):
    """Reads an encoded image; see `ImageReader.read_in_graph`."""
    checks.one_of("interpolation", reader.interpolation, KERNELS)
    checks.one_of("channels", reader.channels, (1, 3))
    image = _decode_stored(_within(encoded, reader.max_pixels, trusted))
    if reader.channels == 1:
        image = to_grey(image)
    # It is turned last, when it is small.
    return resize_and_crop(image, reader, find_orientation(encoded))


def decode(encoded, max_pixels=MAX_PIXELS, trusted=False):
    """Decodes a JPEG, PNG, WebP or BMP, upright.

    WebP animations are refused, and so are BMPs that are compressed or not of
    24 or 32 bits: TensorFlow gives wrong colours of some of these.

    Args:
        encoded: Scalar string tensor, an image file's content.
        max_pixels: Height times width above which an image is refused. They
            are read from its header, before anything is allocated for it.
        trusted: Whether to decode GIF, too: all its frames, which may be
            larger than its header says.

    Returns:
        Uint8 tensor `(height, width, 3)`. An operation fails where the image
        is too large, broken, or of another format.
    """
    image = _decode_stored(_within(encoded, max_pixels, trusted))
    return _turn(image, find_orientation(encoded))


def decode_part(encoded, choose_part, max_pixels=MAX_PIXELS, trusted=False):
    """Decodes a part of an upright image; of a JPEG no more than that.

    For training: JPEGs are decoded faster, and less exactly, than by `decode`.

    Args:
        encoded: Scalar string tensor, an image file's content.
        choose_part: Function from the sides of the upright image, int32 tensor
            `(height, width)`, to the part, int32 tensor
            `(top, left, height, width)`.
        max_pixels: See `decode`.
        trusted: See `decode`.

    Returns:
        Uint8 tensor `(height, width, 3)`.
    """
    encoded = _within(encoded, max_pixels, trusted)
    orientation = find_orientation(encoded)
    is_turned, *is_mirrored = _moves(orientation)

    def stored_part(shape):
        sides = shape[:2]
        sides = tf.where(is_turned, sides[::-1], sides)
        part = tf.convert_to_tensor(choose_part(sides))
        first, size = part[:2], part[2:]
        first = tf.where(tf.stack(is_mirrored), sides - size - first, first)
        return tf.where(
            is_turned,
            tf.concat([first[::-1], size[::-1]], 0),
            tf.concat([first, size], 0),
        )

    def jpeg():
        part = stored_part(tf.io.extract_jpeg_shape(encoded))
        return tf.io.decode_and_crop_jpeg(encoded, part, channels=3)

    def other():
        image = _decode_stored(encoded)
        top, left, height, width = tf.unstack(stored_part(tf.shape(image)))
        return image[top : top + height, left : left + width]

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    return _turn(image, orientation)


def _within(encoded, max_pixels, trusted):
    """Returns `encoded`, and fails where its header allows no reading."""
    pixels = count_pixels(encoded, trusted)
    allowed = [
        tf.debugging.assert_positive(
            pixels, "no JPEG, PNG, WebP or BMP that is read here"
        ),
        tf.debugging.assert_less_equal(
            pixels, tf.constant(max_pixels, tf.int64), "image too large"
        ),
    ]
    with tf.control_dependencies(allowed):
        return tf.identity(encoded)


def _decode_stored(encoded):
    """Decodes pixels as they are stored, before EXIF turns them."""
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        # Pillow's way; TensorFlow's own default is faster and less exact.
        lambda: tf.io.decode_jpeg(
            encoded, channels=3, dct_method="INTEGER_ACCURATE"
        ),
        # TensorFlow reads a WebP with the channels that it has only.
        lambda: tf.cond(
            is_webp_with_alpha(encoded),
            lambda: tf.io.decode_image(
                encoded, channels=4, expand_animations=False
            )[..., :3],
            lambda: tf.io.decode_image(
                encoded, channels=3, expand_animations=False
            ),
        ),
    )
    return tf.ensure_shape(image, (None, None, 3))


def to_grey(image):
    """Computes the luma of an RGB image, uint8, as Pillow rounds it."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    luma = 19595 * red + 38470 * green + 7471 * blue + 2**15
    return tf.cast(luma // 2**16, tf.uint8)[..., None]


def _moves(orientation):
    """Tells how to make an image of an EXIF orientation upright.

    Returns:
        Three boolean scalars: whether rows and columns change places, whether
        the rows are then mirrored, and whether the columns are.
    """
    rows, columns = (
        tf.reduce_any(orientation == tf.constant(those, tf.int64))
        for those in ((3, 4, 7, 8), (2, 3, 6, 7))
    )
    return orientation >= 5, rows, columns


def _turn(image, orientation):
    """Makes an image upright, `(height, width, channels)`."""
    is_turned, rows, columns = _moves(orientation)
    channels = image.shape[-1]
    image = tf.cond(
        is_turned, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
    )
    image = tf.cond(
        rows | columns,
        lambda: tf.raw_ops.Reverse(
            tensor=image, dims=tf.stack([rows, columns, False])
        ),
        lambda: image,
    )
    return tf.ensure_shape(image, (None, None, channels))


def resize_and_crop(image, reader, orientation=1):
    """Makes a model's input of a decoded image, as Pillow to a grey level.

    Only the crop is computed: an elongated image is not resized as a whole.
    An operation fails where that would still take more than `max_pixels`.

    Args:
        image: Tensor `(height, width, channels)`, pixels in [0, 255], as it is
            stored.
        reader: `gcvit_keras.ImageReader`.
        orientation: Integer from 1 to 8, the image's EXIF orientation.

    Returns:
        Float32 tensor `(*reader.size, channels)` of whole numbers in
        [0, 255], upright.
    """
    size = reader.size
    orientation = tf.cast(orientation, tf.int64)
    is_turned, *is_mirrored = _moves(orientation)
    # The upright image's, in float64: no number of pixels is too large for it.
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    sides = tf.where(is_turned, sides[::-1], sides)
    scaled = [tf.constant(side, tf.float64) for side in reader.resized_size]
    if reader.crop_mode == "center":
        ratio = tf.reduce_max(tf.stack(scaled) / sides)
        # See `load.read`.
        whole = tf.round if size[0] != size[1] else _truncate
        scaled = [
            tf.maximum(whole(sides[axis] * ratio), float(size[axis]))
            for axis in (0, 1)
        ]
    limits = (reader.max_pixels, LONGEST_SIDE, LONGEST_SIDE)
    fits = tf.debugging.assert_less_equal(
        tf.stack([sides[0] * size[1], *scaled]),
        tf.constant(limits, tf.float64),
        "image too elongated",
    )
    with tf.control_dependencies([fits]):
        image = tf.identity(image)
    image = image[None]
    # Columns, then rows, each rounded, as Pillow does.
    for axis in (1, 0):
        first = tf.round((scaled[axis] - size[axis]) / 2)
        last = scaled[axis] - size[axis] - first
        first = tf.where(is_mirrored[axis], last, first)
        factor = tf.cast(scaled[axis] / sides[axis], tf.float32)
        # This axis of the upright image is the other one as it is stored.
        is_rows = is_turned if axis == 1 else ~is_turned
        other = tf.where(is_rows, tf.shape(image)[2], tf.shape(image)[1])
        ours = (factor, -tf.cast(first, tf.float32), size[axis])
        others = (1.0, 0.0, other)
        scale, translation, target = (
            tf.where(is_rows, tf.stack([a, b]), tf.stack([b, a]))
            for a, b in zip(ours, others, strict=True)
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
    image = _turn(image[0], orientation)
    return tf.ensure_shape(image, (*size, image.shape[-1]))


def _truncate(value):
    return tf.floor(value + 1e-6)


def or_grey(read, size, channels=3):
    """Gives an image, or a grey one where reading it fails.

    `read` returns a float32 tensor `(*size, channels)`, of 1 or 3 channels. So
    does this, with a scalar boolean: whether it could be read.
    """

    def grey(_):
        mean = np.float32(PIXEL_MEAN)
        if channels == 1:
            mean = mean.mean()
        return tf.broadcast_to(mean, (*size, channels)), False

    image, valid = guarded(lambda: (read(), True), grey)
    return tf.ensure_shape(image, (*size, channels)), valid


def zeros(specs):
    """Makes zeros, and false, of a structure of `tf.TensorSpec`s."""
    return tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), specs
    )


def guarded(compute, otherwise=zeros):
    """Computes tensors in a graph, or others where an operation fails.

    `compute` returns a structure of tensors, and `otherwise` makes one of the
    same types from their `tf.TensorSpec`s. For zeros their shapes are static.

    A failing operation ends a graph. Only `ignore_errors` of `tf.data` stops
    that, and it leaves a gap; so this is a pipeline of one element, that has a
    second one for when the first is missing.
    """
    one = tf.data.Dataset.from_tensors(0)
    first = one.map(lambda _: compute())
    return (
        first.ignore_errors()
        .concatenate(one.map(lambda _: otherwise(first.element_spec)))
        .take(1)
        .get_single_element()
    )


def resized_size(size, short_side, long_side, scale=1.0):
    """Computes the size that an image is resized to, in a graph.

    Args:
        size: Int32 tensor `(2,)`: height and width.
        short_side: As of `sides.resized_sides`.
        long_side: As of `sides.resized_sides`.
        scale: As of `sides.resized_sides`.

    Returns:
        Int32 tensor `(2,)`.
    """
    sides = resized_sides(
        size, short_side, long_side, scale, xp=tf.experimental.numpy
    )
    return tf.cast(sides, tf.int32)
