"""Geometry of training images: how each is resized, cropped and mirrored.

All that is random is drawn here, for a whole epoch at once, so that it is known
which images a batch holds, and how large they are, before one is read.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from gcvit_keras.images.sides import resized_sides


class Plan(NamedTuple):
    """What is done to each of n images: a pixel's place is moved by it.

    A place (y, x) goes to (y, x) * scale + shift, and what is then outside of
    (0, 0) and `size` is cut off; at last it is mirrored.

    Attributes:
        scale: Float32 tensor `(n, 2)`, vertical and horizontal.
        shift: Float32 tensor `(n, 2)`, in pixels of the result.
        size: Int32 tensor `(n, 2)`: height and width of the result.
        is_flipped: Boolean tensor `(n,)`: whether left becomes right.
    """

    scale: Any
    shift: Any
    size: Any
    is_flipped: Any


def plan_evaluation(sizes, data):
    """Resizes whole images, as the published evaluation does.

    Args:
        sizes: Integers `(n, 2)`: heights and widths.
        data: A `DetectionDataConfig`: `short_side` and `long_side`.

    Returns:
        A `Plan`.
    """
    sides = tf.cast(sizes, tf.float64)
    resized = _fit(sides, data.short_side, data.long_side)
    return _plan(sides, resized, tf.zeros_like(sides), resized, resized)


def plan_training(sizes, seed, augment):
    """Draws what is done to the images of an epoch.

    Args:
        sizes: Integers `(n, 2)`: heights and widths.
        seed: Integer tensor `(2,)`.
        augment: A `DetectionAugmentConfig`.

    Returns:
        A `Plan`.
    """
    sides = tf.cast(sizes, tf.float64)
    count = tf.shape(sides)[0]
    # (draws, n), each of an own use below
    draws = tf.random.stateless_uniform((8, count), seed, dtype=tf.float64)
    flips = draws[0] < augment.flip
    if augment.policy == "jitter":
        resized, crop, offset = _jitter(sides, draws, augment)
        final = crop
    else:
        short = _one_of(augment.short_sides, draws[1])
        resized = _fit(sides, short, augment.long_side)
        crop, offset, final = resized, tf.zeros_like(sides), resized
        if augment.policy == "paper":
            crops = (draws[2] < 0.5)[:, None]
            first = _one_of(augment.crop_short_sides, draws[3])
            first = _fit(sides, first, augment.long_side)
            part, place = _random_crop(first, draws[4:8], augment.crop_sides)
            resized = tf.where(crops, first, resized)
            crop = tf.where(crops, part, crop)
            offset = tf.where(crops, place, offset)
            again = _fit(part, short, augment.long_side)
            final = tf.where(crops, again, final)
    return _plan(sides, resized, offset, crop, final, flips)


def _fit(sides, short_side, long_side):
    """Sides `(n, 2)` that keep their ratio; see `resized_sides`."""
    return resized_sides(sides, short_side, long_side, xp=tf.experimental.numpy)


def _plan(sides, resized, offset, crop, final, flips=None):
    """From sides to a crop of the resized image, which is resized again."""
    again = final / crop
    if flips is None:
        flips = tf.zeros(tf.shape(sides)[:1], tf.bool)
    return Plan(
        scale=tf.cast(resized / sides * again, tf.float32),
        shift=tf.cast(-offset * again, tf.float32),
        size=tf.cast(final, tf.int32),
        is_flipped=flips,
    )


def _one_of(values, draws):
    """Chooses one of the values per draw, each with the same chance."""
    values = tf.constant(values, tf.float64)
    return tf.gather(values, _whole(draws, len(values) - 1))


def _whole(draws, most):
    """Whole numbers from 0 to `most`, each with the same chance."""
    most = tf.cast(most, tf.float64)
    return tf.cast(tf.minimum(tf.floor(draws * (most + 1)), most), tf.int32)


def _random_crop(sides, draws, limits):
    """A crop with sides drawn between two limits, and its place."""
    low = tf.minimum(sides, limits[0])
    high = tf.minimum(sides, limits[1])
    draws = tf.transpose(draws)  # (n, 4)
    crop = low + tf.cast(_whole(draws[:, :2], high - low), tf.float64)
    place = tf.cast(_whole(draws[:, 2:], sides - crop), tf.float64)
    return crop, place


def _jitter(sides, draws, augment):
    """Large-scale jitter (arXiv 2012.07177): a square, zoomed in or out."""
    side = float(augment.jitter_side)
    low, high = augment.jitter
    target = side * (low + (high - low) * draws[1])
    resized = _fit(sides, target, target)
    crop = tf.minimum(resized, side)
    places = tf.transpose(draws[2:4])
    offset = tf.cast(_whole(places, resized - crop), tf.float64)
    return resized, crop, offset
