"""Augmentation of one image at a time, in TensorFlow ops that keep no state.

What is done to an image follows from a seed alone, so that a run that was
killed goes on with what it would have seen. Keras 3.15's and keras-cv 0.9's
layers keep state, or ignore their seed; Keras's are slower, keras-cv's level
(`benchmarks/input.py`), and neither's RandAugment is the one of the published
configuration, timm's.
"""

import math

import tensorflow as tf

from gcvit_keras.weights.presets import PIXEL_MEAN, PIXEL_STD
from gcvit_training.tasks.classification.geometry import box, warp
from gcvit_training.tasks.classification.rand_augment import rand_augment


def augment(image, seed, settings):
    """Varies an image at random.

    Args:
        image: float32 tensor `(height, width, channels)`, pixels in [0, 255].
        seed: Integer tensor `(2,)`.
        settings: An `AugmentConfig`.

    Returns:
        Tensor of the same shape and range.
    """
    shape = image.shape
    seeds = tf.unstack(tf.random.split(seed, 4))
    if settings.flip:
        flips = tf.random.stateless_uniform((), seeds[0]) < settings.flip
        image = tf.cond(flips, lambda: image[:, ::-1], lambda: image)
    if settings.rotation or settings.translation or settings.zoom:
        image = _affine(image, seeds[1], settings)
    if settings.rand_augment_layers:
        image = rand_augment(
            image,
            seeds[2],
            settings.rand_augment_layers,
            settings.rand_augment_magnitude,
            settings.rand_augment_std,
        )
    if settings.erasing:
        image = _erase(image, seeds[3], settings.erasing)
    return tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), shape)


def random_crop(height, width, seed, scale, ratio):
    """The box of a random crop, as torchvision's RandomResizedCrop draws it.

    Args:
        height: Of the image, an int32 tensor.
        width: Of the image.
        seed: Integer tensor `(2,)`.
        scale: Least and largest area, as shares of the image's.
        ratio: Least and largest width over height.

    Returns:
        int32 tensors top, left, height and width. Where ten attempts do not
        fit, the largest central box within `ratio`.
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    area = tf.cast(height, tf.float32) * tf.cast(width, tf.float32)
    areas = area * tf.random.stateless_uniform((10,), seeds[0], *scale)
    logs = math.log(ratio[0]), math.log(ratio[1])
    ratios = tf.exp(tf.random.stateless_uniform((10,), seeds[1], *logs))
    widths = tf.cast(tf.round(tf.sqrt(areas * ratios)), tf.int32)
    heights = tf.cast(tf.round(tf.sqrt(areas / ratios)), tf.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0)
    fits &= heights <= height
    chosen = tf.argmax(tf.cast(fits, tf.int32))

    def drawn():
        h, w = heights[chosen], widths[chosen]
        top = tf.random.stateless_uniform((), seeds[2])
        left = tf.random.stateless_uniform((), seeds[3])
        return _place(top, height - h), _place(left, width - w), h, w

    def central():
        image_ratio = width / height
        w = tf.where(
            image_ratio > ratio[1],
            tf.round(tf.cast(height, tf.float64) * ratio[1]),
            tf.cast(width, tf.float64),
        )
        h = tf.where(
            image_ratio < ratio[0],
            tf.round(tf.cast(width, tf.float64) / ratio[0]),
            tf.cast(height, tf.float64),
        )
        w, h = tf.cast(w, tf.int32), tf.cast(h, tf.int32)
        w, h = tf.clip_by_value(w, 1, width), tf.clip_by_value(h, 1, height)
        return (height - h) // 2, (width - w) // 2, h, w

    return tf.cond(tf.reduce_any(fits), drawn, central)


def _place(share, room):
    """A whole number from 0 to `room`, each as likely."""
    return tf.minimum(
        tf.cast(share * tf.cast(room + 1, tf.float32), tf.int32), room
    )


def mix(images, labels, seed, mixup, cutmix):
    """Mixes every image of a batch with its neighbour, and their labels.

    Image 2k is mixed with 2k + 1 and the other way round, all with the same
    share, drawn for the batch as timm does. So a batch is mixed the same
    whether one replica makes it or several make an even part of it each.

    Args:
        images: float32 tensor `(n, height, width, channels)`, n even.
        labels: float32 tensor `(n, classes)`.
        seed: Integer tensor `(2,)`.
        mixup: Alpha of mixup (arXiv 1710.09412); 0 for none.
        cutmix: Alpha of CutMix (arXiv 1905.04899); 0 for none. With both, a
            batch is given either, each with probability 0.5.

    Returns:
        Images and labels of the same shapes; labels still sum to 1.
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    partners = tf.reshape(
        tf.reverse(tf.reshape(tf.range(shape[0]), (-1, 2)), [1]), [-1]
    )

    def blended():
        share = _beta(mixup, seeds[0])
        others = tf.gather(images, partners)
        return share * images + (1 - share) * others, share

    def pasted():
        side = tf.sqrt(1 - _beta(cutmix, seeds[0]))
        h = tf.cast(side * tf.cast(height, tf.float32), tf.int32)
        w = tf.cast(side * tf.cast(width, tf.float32), tf.int32)
        middle = tf.random.stateless_uniform((2,), seeds[1])
        y, x = _place(middle[0], height - 1), _place(middle[1], width - 1)
        top, bottom = tf.maximum(y - h // 2, 0), tf.minimum(y + h // 2, height)
        left, right = tf.maximum(x - w // 2, 0), tf.minimum(x + w // 2, width)
        mask = box(height, width, top, bottom, left, right)
        mixed = tf.where(mask, tf.gather(images, partners), images)
        area = (bottom - top) * (right - left)
        return mixed, 1 - tf.cast(area / (height * width), tf.float32)

    if mixup and cutmix:
        pastes = tf.random.stateless_uniform((), seeds[2]) < 0.5
        mixed, share = tf.cond(pastes, pasted, blended)
    else:
        mixed, share = pasted() if cutmix else blended()
    labels = share * labels + (1 - share) * tf.gather(labels, partners)
    return tf.ensure_shape(mixed, images.shape), labels


def _beta(alpha, seed):
    """A number of the Beta distribution (alpha, alpha)."""
    a, b = tf.unstack(tf.random.stateless_gamma((2,), seed, alpha))
    return a / tf.maximum(a + b, 1e-30)


def _affine(image, seed, settings):
    """A random turn, zoom and shift in one resampling; black outside."""
    draws = tf.random.stateless_uniform((5,), seed, -1.0, 1.0)
    height, width = (float(side) for side in image.shape[:2])
    angle = 2 * math.pi * settings.rotation * draws[0]
    zoom_y = 1 + settings.zoom * draws[1]
    zoom_x = 1 + settings.zoom * draws[2]
    shift_y = settings.translation * height * draws[3]
    shift_x = settings.translation * width * draws[4]
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From a place in the result to the place in the image.
    a, b = cos * zoom_x, -sin * zoom_y
    c, d = sin * zoom_x, cos * zoom_y
    return warp(image, a, b, shift_x, c, d, shift_y, fill=0)


def _erase(image, seed, probability):
    """Noise in a random box (arXiv 1708.04896), as timm's "pixel" mode."""
    seeds = tf.unstack(tf.random.split(seed, 3))
    shape = image.shape

    def erased():
        noise = tf.random.stateless_normal(shape, seeds[1])
        mean, std = tf.constant(PIXEL_MEAN), tf.constant(PIXEL_STD)
        if shape[-1] == 1:
            mean, std = tf.reduce_mean(mean), tf.reduce_mean(std)
        noise = mean + std * noise
        top, left, height, width = random_crop(
            tf.constant(shape[0]),
            tf.constant(shape[1]),
            seeds[0],
            (0.02, 1 / 3),
            (0.3, 1 / 0.3),
        )
        mask = box(*shape[:2], top, top + height, left, left + width)
        return tf.where(mask, tf.clip_by_value(tf.round(noise), 0, 255), image)

    erases = tf.random.stateless_uniform((), seeds[2]) < probability
    return tf.cond(erases, erased, lambda: image)
