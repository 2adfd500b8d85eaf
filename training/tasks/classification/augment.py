"""Augmentation of one image at a time, in TensorFlow ops that keep no state.

What is done to an image follows from a seed alone, so that a run that was
killed goes on with what it would have seen. Keras 3.15's and keras-cv 0.9's
layers keep state, or ignore their seed; Keras's are slower, keras-cv's level
(`benchmarks/input.py`), and neither's RandAugment is the one of the published
configuration, timm's.
"""

import functools
import math

import tensorflow as tf

from gcvit_keras.weights.presets import IMAGENET_MEAN, IMAGENET_STD

MEAN = [255 * m for m in IMAGENET_MEAN]
STD = [255 * s for s in IMAGENET_STD]
FILL = [round(m) for m in MEAN]
"""Colour of what RandAugment's shifts and turns uncover, as timm's."""
CHOICE_PROBABILITY = 0.5
"""That a layer of RandAugment does anything, as timm's."""


def augment(image, seed, settings):
    """Varies an image at random.

    Args:
        image: float32 tensor `(size, size, 3)`, pixels in [0, 255].
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
        images: float32 tensor `(n, height, width, 3)`, n even.
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
        mask = _box(height, width, top, bottom, left, right)
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


def _box(height, width, top, bottom, left, right):
    """Boolean mask `(height, width, 1)` of a box."""
    rows, columns = tf.range(height)[:, None], tf.range(width)[None]
    inside = (rows >= top) & (rows < bottom)
    inside &= (columns >= left) & (columns < right)
    return inside[..., None]


def _affine(image, seed, settings):
    """A random turn, zoom and shift in one resampling; black outside."""
    draws = tf.random.stateless_uniform((5,), seed, -1.0, 1.0)
    side = float(image.shape[0])
    angle = 2 * math.pi * settings.rotation * draws[0]
    zoom_y = 1 + settings.zoom * draws[1]
    zoom_x = 1 + settings.zoom * draws[2]
    shift_y = settings.translation * side * draws[3]
    shift_x = settings.translation * side * draws[4]
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From a place in the result to the place in the image.
    a, b = cos * zoom_x, -sin * zoom_y
    c, d = sin * zoom_x, cos * zoom_y
    return _warp(image, a, b, shift_x, c, d, shift_y, fill=0)


def _warp(image, a, b, x, c, d, y, fill):
    """Pixel (u, v) of the result is that at M (u, v) + (x, y) of the image.

    M is [[a, b], [c, d]] about the image's centre; bilinear.
    """
    shape = image.shape
    middle_x, middle_y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    x = x + middle_x - a * middle_x - b * middle_y
    y = y + middle_y - c * middle_x - d * middle_y
    zero = tf.zeros(())
    transform = tf.stack(
        [tf.cast(v, tf.float32) for v in (a, b, x, c, d, y, zero, zero)]
    )
    # `fill_value` is one number for all channels.
    offset = tf.constant(fill, tf.float32)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None] - offset,
        transforms=transform[None],
        output_shape=shape[:2],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
    return warped[0] + offset


def _erase(image, seed, probability):
    """Noise in a random box (arXiv 1708.04896), as timm's "pixel" mode."""
    seeds = tf.unstack(tf.random.split(seed, 3))
    shape = image.shape

    def erased():
        noise = MEAN + tf.constant(STD) * tf.random.stateless_normal(
            shape, seeds[1]
        )
        top, left, height, width = random_crop(
            tf.constant(shape[0]),
            tf.constant(shape[1]),
            seeds[0],
            (0.02, 1 / 3),
            (0.3, 1 / 0.3),
        )
        mask = _box(*shape[:2], top, top + height, left, left + width)
        return tf.where(mask, tf.clip_by_value(tf.round(noise), 0, 255), image)

    erases = tf.random.stateless_uniform((), seeds[2]) < probability
    return tf.cond(erases, erased, lambda: image)


def rand_augment(image, seed, layers, magnitude, std):
    """RandAugment (arXiv 1909.13719), with timm's increasing operations.

    Args:
        image: float32 tensor `(height, width, 3)`, pixels in [0, 255].
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
        branches = [
            functools.partial(_whole_pixels, operation, image, strength, sign)
            for operation in OPERATIONS.values()
        ]
        branches.append(functools.partial(tf.identity, image))
        image = tf.switch_case(
            tf.where(skips, len(OPERATIONS), index), branches
        )
    return image


def _whole_pixels(operation, image, strength, sign):
    return tf.round(operation(image, strength, sign))


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


def _factor(strength, sign):
    """What an enhancement multiplies with: below 1 as often as above."""
    return tf.maximum(0.1, 1 + sign * strength / 10 * 0.9)


def _enhance(image, plain, strength, sign):
    """As PIL.ImageEnhance: from a plain image through the image, or beyond."""
    mixed = plain + _factor(strength, sign) * (image - plain)
    return tf.floor(tf.clip_by_value(mixed, 0, 255) + 1e-4)


def _grey(image):
    """As PIL's conversion to "L"."""
    weights = tf.constant([19595, 38470, 7471])
    whole = tf.reduce_sum(tf.cast(image, tf.int32) * weights, -1)
    return tf.cast((whole + 0x8000) // 65536, tf.float32)[..., None]


def _color(image, strength, sign):
    return _enhance(image, _grey(image), strength, sign)


def _contrast(image, strength, sign):
    mean = tf.floor(tf.reduce_mean(_grey(image)) + 0.5)
    return _enhance(image, mean, strength, sign)


def _brightness(image, strength, sign):
    return _enhance(image, 0.0, strength, sign)


def _sharpness(image, strength, sign):
    """As PIL's SMOOTH filter: the edge pixels stay."""
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13
    kernel = tf.tile(kernel[:, :, None, None], (1, 1, 3, 1))
    inner = tf.nn.depthwise_conv2d(image[None], kernel, (1, 1, 1, 1), "VALID")[
        0
    ]
    inner = tf.floor(tf.clip_by_value(inner + 0.5, 0, 255))
    height, width, _ = image.shape
    mask = _box(height, width, 1, height - 1, 1, width - 1)
    smooth = tf.pad(inner, ((1, 1), (1, 1), (0, 0)))
    return _enhance(image, tf.where(mask, smooth, image), strength, sign)


def _rotate(image, strength, sign):
    angle = sign * strength / 10 * math.radians(30)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _warp(image, cos, -sin, 0.0, sin, cos, 0.0, FILL)


def _shear(strength, sign):
    return sign * strength / 10 * 0.3


def _shear_x(image, strength, sign):
    return _warp_corner(image, _shear(strength, sign), 0.0)


def _shear_y(image, strength, sign):
    return _warp_corner(image, 0.0, _shear(strength, sign))


def _warp_corner(image, b, c):
    """A shear about the corner of the image, as PIL's affine transform."""
    middle_x, middle_y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    # PIL counts from the corner of the first pixel, TensorFlow its centre.
    x = b * (middle_y + 0.5)
    y = c * (middle_x + 0.5)
    return _warp(image, 1.0, b, x, c, 1.0, y, FILL)


def _shift(strength, sign):
    return sign * strength / 10 * 0.45


def _translate_x(image, strength, sign):
    x = _shift(strength, sign) * image.shape[1]
    return _warp(image, 1.0, 0.0, x, 0.0, 1.0, 0.0, FILL)


def _translate_y(image, strength, sign):
    y = _shift(strength, sign) * image.shape[0]
    return _warp(image, 1.0, 0.0, 0.0, 0.0, 1.0, y, FILL)


OPERATIONS = {
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Invert": lambda image, strength, sign: 255 - image,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
}
"""timm's increasing operations, each as likely."""
