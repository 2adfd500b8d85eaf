"""From an image file and its label map to the model's input and targets."""

import tensorflow as tf

from gcvit_keras.images.graph import decode, resized_size
from gcvit_keras.segmentation.losses import IGNORED
from gcvit_keras.weights.presets import PIXEL_MEAN
from gcvit_training.tasks.segmentation.label_map import (
    decode_numbers,
    to_classes,
)

TRIES = 10
"""Crops that are drawn where one class fills too much of one."""
PADDING = list(PIXEL_MEAN)
"""The pixel that the model's normalisation makes zeros."""


def read_pair(content, table):
    """Reads an image and its label map.

    Args:
        content: As `Pairs.load` returns.
        table: As `label_map.make_table` returns.

    Returns:
        Uint8 tensor `(height, width, 3)` and int32 `(height, width)`. An
        operation fails where a file is broken, or they differ in size.
    """
    image = decode(content["image"], trusted=True)
    numbers = decode_numbers(content["labels"])
    same = tf.debugging.assert_equal(
        tf.shape(image)[:2], tf.shape(numbers), "not the size of its image"
    )
    with tf.control_dependencies([same]):
        return image, to_classes(numbers, table)


def training_pair(image, labels, seed, data, augment):
    """Makes a crop of an image at a random scale, varied.

    Args:
        image: Uint8 tensor `(height, width, 3)`.
        labels: Int32 tensor `(height, width)`.
        seed: Integer tensor `(2,)`.
        data: A `SegmentationDataConfig`.
        augment: A `SegmentationAugmentConfig`.

    Returns:
        Float32 tensor `(crop, crop, 3)`, pixels in [0, 255], and int32
        `(crop, crop)`. What is outside of the image is `PADDING` and
        `IGNORED`.
    """
    side = data.crop_size
    seeds = tf.unstack(tf.random.split(seed, 4))
    size = tf.shape(labels)
    scale = tf.random.stateless_uniform((), seeds[0], *augment.scale)
    scaled = resized_size(size, data.short_side, data.long_side, scale)
    first, labels = _choose(labels, scaled, seeds[1], side, augment.class_share)
    image = _colours(_cut(image, scaled, first, side), seeds[3], augment)
    # Padded last: the model is to see zeros there, as in a smaller image.
    place = tf.range(side)[:, None] + first  # (side, 2)
    inside = place < scaled
    inside = inside[:, :1] & inside[:, 1]
    image = tf.where(inside[..., None], image, PADDING)
    if augment.flip:
        flips = tf.random.stateless_uniform((), seeds[2]) < augment.flip
        image, labels = tf.cond(
            flips,
            lambda: (image[:, ::-1], labels[:, ::-1]),
            lambda: (image, labels),
        )
    return image, labels


def _choose(labels, scaled, seed, side, most):
    """Draws where a crop begins, and cuts the labels."""
    room = tf.maximum(scaled - side, 0)

    def draw(i):
        drawn = tf.random.stateless_uniform((2,), tf.random.fold_in(seed, i))
        return tf.minimum(
            tf.cast(drawn * tf.cast(room + 1, tf.float32), tf.int32), room
        )

    def is_uniform(i, first, cut):
        counts = tf.math.bincount(
            tf.where(cut == IGNORED, 0, cut + 1), minlength=1
        )[1:]
        total = tf.reduce_sum(counts)
        largest = tf.reduce_max(tf.concat([counts, [0]], 0))
        limit = most * tf.cast(total, tf.float32)
        return (i < TRIES) & (tf.cast(largest, tf.float32) > limit)

    def again(i, first, cut):
        first = draw(i)
        return i + 1, first, cut_labels(labels, scaled, first, side)

    first = draw(0)
    state = (tf.constant(1), first, cut_labels(labels, scaled, first, side))
    if most < 1:
        state = tf.while_loop(is_uniform, again, state)
    return state[1], state[2]


def cut_labels(labels, scaled, first, side):
    """Resizes a label map by its nearest pixels, and crops it.

    Args:
        labels: Int32 tensor `(height, width)`.
        scaled: Int32 tensor `(2,)`: height and width after resizing.
        first: Int32 tensor `(2,)`: row and column where the crop begins.
        side: Side of the crop, an integer.

    Returns:
        Int32 tensor `(side, side)`, `IGNORED` outside of the image.
    """
    places, inside = [], []
    for axis in (0, 1):
        place = tf.range(side) + first[axis]
        inside.append(place < scaled[axis])
        # The pixel that the centre of the resized one lies in.
        size = tf.shape(labels)[axis]
        centre = (2 * place + 1) * size // (2 * scaled[axis])
        places.append(tf.minimum(centre, size - 1))
    labels = tf.gather(tf.gather(labels, places[0]), places[1], axis=1)
    return tf.where(inside[0][:, None] & inside[1], labels, IGNORED)


def _cut(image, scaled, first, side):
    """Resizes an image bilinearly and crops it; only the crop is computed."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.cast(scaled, tf.float32) / size
    return tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(image, tf.float32)[None],
        size=tf.constant([side, side]),
        scale=scale,
        translation=-tf.cast(first, tf.float32),
        kernel_type="triangle",
        antialias=True,
    )[0]


def _colours(image, seed, augment):
    """Changes brightness, contrast, saturation and hue, each half the time."""
    seeds = tf.unstack(tf.random.split(seed, 2))
    amount = tf.random.stateless_uniform((4,), seeds[0], -1.0, 1.0)
    amount *= tf.cast(
        tf.random.stateless_uniform((4,), seeds[1]) < 0.5, tf.float32
    )
    image = image + 255 * augment.brightness * amount[0]
    image = image * (1 + augment.contrast * amount[1])
    image = tf.clip_by_value(image, 0.0, 255.0)
    if augment.saturation or augment.hue:
        hue, saturation, value = tf.unstack(
            tf.image.rgb_to_hsv(image / 255), axis=-1
        )
        hue = tf.math.floormod(hue + augment.hue * amount[3], 1.0)
        saturation = saturation * (1 + augment.saturation * amount[2])
        saturation = tf.clip_by_value(saturation, 0.0, 1.0)
        image = 255 * tf.image.hsv_to_rgb(
            tf.stack([hue, saturation, value], axis=-1)
        )
    return image


def whole_pair(image, labels, side):
    """Puts an image and its label map on a square, to be measured.

    Args:
        image: Uint8 tensor `(height, width, 3)`.
        labels: Int32 tensor `(height, width)`.
        side: Side of the square; larger images are reduced to it.

    Returns:
        Dict of uint8 `"images"` `(side, side, 3)`, uint8 `"labels"` `(side,
        side)` and int32 `"sizes"` `(2,)`, height and width of what counts.
    """
    size = tf.shape(labels)

    def reduced():
        scaled = resized_size(size, side, side)
        zero = tf.zeros((2,), tf.int32)
        cut = tf.cast(tf.round(_cut(image, scaled, zero, side)), tf.uint8)
        return cut, cut_labels(labels, scaled, zero, side), scaled

    def padded():
        rows, columns = side - size[0], side - size[1]
        return (
            tf.pad(image, ((0, rows), (0, columns), (0, 0))),
            tf.pad(labels, ((0, rows), (0, columns)), constant_values=IGNORED),
            size,
        )

    image, labels, size = tf.cond(tf.reduce_max(size) > side, reduced, padded)
    return {
        "images": tf.ensure_shape(image, (side, side, 3)),
        "labels": tf.ensure_shape(tf.cast(labels, tf.uint8), (side, side)),
        "sizes": tf.ensure_shape(size, (2,)),
    }
