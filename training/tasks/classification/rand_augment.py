"""RandAugment (arXiv 1909.13719), as timm has it, one image at a time."""

import functools
import math

import tensorflow as tf

from gcvit_keras.images.graph import to_grey
from gcvit_keras.weights.presets import PIXEL_MEAN
from gcvit_training.tasks.classification.geometry import box, warp

FILL = [round(m) for m in PIXEL_MEAN]
"""Colour of what shifts and turns uncover, as timm's."""
CHOICE_PROBABILITY = 0.5
"""Probability that a layer does anything, as timm's."""


def rand_augment(image, seed, layers, magnitude, std):
    """RandAugment (arXiv 1909.13719), with timm's increasing operations.

    Args:
        image: float32 tensor `(height, width, channels)`, pixels in [0, 255].
        seed: Integer tensor `(2,)`.
        layers: Operations one after the other; each is done with probability
            0.5.
        magnitude: Their mean strength, in [0, 10].
        std: Standard deviation of their strength.

    Returns:
        Tensor of the same shape, whole pixel values.
    """
    image = tf.round(image)
    for layer_seed in tf.unstack(tf.random.split(seed, layers)):
        seeds = tf.unstack(tf.random.split(layer_seed, 4))
        strength = magnitude + std * tf.random.stateless_normal((), seeds[0])
        strength = tf.clip_by_value(strength, 0.0, 10.0)
        sign = tf.sign(tf.random.stateless_uniform((), seeds[1], -1.0, 1.0))
        index = tf.random.stateless_uniform(
            (), seeds[2], 0, len(OPERATIONS), tf.int32
        )
        # One more branch does nothing.
        skips = tf.random.stateless_uniform((), seeds[3]) >= CHOICE_PROBABILITY
        index = tf.where(skips, len(OPERATIONS), index)
        branches = [
            functools.partial(operation, image, strength, sign)
            for operation in OPERATIONS.values()
        ]
        branches.append(functools.partial(tf.identity, image))
        image = tf.round(tf.switch_case(index, branches))
    return image


def _autocontrast(image, strength, sign):
    low = tf.reduce_min(image, (0, 1))
    high = tf.reduce_max(image, (0, 1))
    scale = 255.0 / tf.maximum(high - low, 1.0)
    stretched = tf.floor(tf.clip_by_value((image - low) * scale + 1e-4, 0, 255))
    return tf.where(high > low, stretched, image)


def _equalize(image, strength, sign):
    """As PIL.ImageOps.equalize."""
    channels = []
    for channel in tf.unstack(tf.cast(image, tf.int32), axis=-1):
        counts = tf.math.bincount(
            tf.reshape(channel, [-1]), minlength=256, maxlength=256
        )
        used = tf.boolean_mask(counts, counts > 0)
        step = (tf.reduce_sum(used) - used[-1]) // 255
        table = tf.cumsum(counts, exclusive=True) + step // 2
        table = tf.clip_by_value(table // tf.maximum(step, 1), 0, 255)
        flat = (step == 0) | (tf.size(used) <= 1)
        table = tf.where(flat, tf.range(256), table)
        channels.append(tf.gather(table, channel))
    return tf.cast(tf.stack(channels, -1), tf.float32)


def _posterize(image, strength, sign):
    # Bits that are kept: all 4 to none, as timm's increasing variant.
    bits = 4 - tf.cast(strength / 10 * 4, tf.int32)
    step = tf.cast(tf.bitwise.left_shift(1, 8 - bits), tf.float32)
    return tf.floor(image / step) * step


def _solarize(image, strength, sign):
    threshold = 256.0 - tf.floor(tf.minimum(strength / 10 * 256, 256))
    return tf.where(image < threshold, image, 255 - image)


def _solarize_add(image, strength, sign):
    add = tf.floor(tf.minimum(strength / 10 * 110, 128))
    added = tf.minimum(image + add, 255)
    return tf.where(image < 128, added, image)


def _enhance(image, plain, strength, sign):
    """As PIL.ImageEnhance: from a plain image through the image, or beyond."""
    factor = tf.maximum(0.1, 1 + sign * strength / 10 * 0.9)
    mixed = plain + factor * (image - plain)
    return tf.floor(tf.clip_by_value(mixed, 0, 255) + 1e-4)


def _fill(image):
    """`FILL`, or its mean for a grey image."""
    return FILL if image.shape[-1] == 3 else [sum(FILL) / 3]


def _grey(image):
    """As PIL's conversion to "L"."""
    if image.shape[-1] == 1:
        return image
    return tf.cast(to_grey(image), tf.float32)


def _contrast(image, strength, sign):
    mean = tf.floor(tf.reduce_mean(_grey(image)) + 0.5)
    return _enhance(image, mean, strength, sign)


def _sharpness(image, strength, sign):
    """As PIL's SMOOTH filter: the edge pixels stay."""
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13
    kernel = tf.tile(kernel[:, :, None, None], (1, 1, image.shape[-1], 1))
    inner = tf.nn.depthwise_conv2d(image[None], kernel, (1, 1, 1, 1), "VALID")[
        0
    ]
    inner = tf.floor(tf.clip_by_value(inner + 0.5, 0, 255))
    height, width, _ = image.shape
    mask = box(height, width, 1, height - 1, 1, width - 1)
    smooth = tf.pad(inner, ((1, 1), (1, 1), (0, 0)))
    return _enhance(image, tf.where(mask, smooth, image), strength, sign)


def _rotate(image, strength, sign):
    angle = sign * strength / 10 * math.radians(30)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return warp(image, cos, -sin, 0.0, sin, cos, 0.0, _fill(image))


def _shear(image, b, c):
    """Shears an image about its corner, as PIL's affine transform."""
    middle_x, middle_y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    # PIL counts from the corner of the first pixel, TensorFlow its centre.
    x = b * (middle_y + 0.5)
    y = c * (middle_x + 0.5)
    return warp(image, 1.0, b, x, c, 1.0, y, _fill(image))


def _translate(image, x, y):
    """Shifts an image by shares of its width and height."""
    height, width, _ = image.shape
    x, y = x * width, y * height
    return warp(image, 1.0, 0.0, x, 0.0, 1.0, y, _fill(image))


OPERATIONS = {
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Invert": lambda image, strength, sign: 255 - image,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": lambda image, strength, sign: _enhance(
        image, _grey(image), strength, sign
    ),
    "Contrast": _contrast,
    "Brightness": lambda image, strength, sign: _enhance(
        image, 0.0, strength, sign
    ),
    "Sharpness": _sharpness,
    "ShearX": lambda image, strength, sign: _shear(
        image, sign * strength / 10 * 0.3, 0.0
    ),
    "ShearY": lambda image, strength, sign: _shear(
        image, 0.0, sign * strength / 10 * 0.3
    ),
    "TranslateX": lambda image, strength, sign: _translate(
        image, sign * strength / 10 * 0.45, 0.0
    ),
    "TranslateY": lambda image, strength, sign: _translate(
        image, 0.0, sign * strength / 10 * 0.45
    ),
}
"""timm's increasing operations, each as likely."""
