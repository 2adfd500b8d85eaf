"""From an image file's content to the model's input, in a graph."""

import tensorflow as tf

from gcvit_keras.images.graph import decode_part, to_grey
from gcvit_training.tasks.classification.augment import augment, random_crop


def training_image(encoded, seed, config):
    """Reads an image, a random part of it where the recipe says so.

    Args:
        encoded: Scalar string tensor, the file's content.
        seed: Integer tensor `(2,)`.
        config: A `ClassificationConfig`.

    Returns:
        float32 tensor `(height, width, channels)`, pixels in [0, 255].
    """
    crop_seed, augment_seed = tf.unstack(tf.random.split(seed, 2))
    if config.augment.crop_scale:
        image = _random_crop(encoded, crop_seed, config)
    else:
        reader = config.data.image_reader
        image = reader.read_in_graph(encoded, trusted=True)
    return augment(image, augment_seed, config.augment)


def _random_crop(encoded, seed, config):
    """A random part of an image, resized; a JPEG's rest is not decoded."""

    def choose(sides):
        augment = config.augment
        part = random_crop(
            sides[0], sides[1], seed, augment.crop_scale, augment.crop_aspect
        )
        return tf.stack(part)

    reader = config.data.image_reader
    image = decode_part(encoded, choose, reader.max_pixels, trusted=True)
    if reader.channels == 1:
        image = to_grey(image)
    image = tf.image.resize(
        image, reader.size, reader.interpolation, antialias=True
    )
    return tf.clip_by_value(image, 0, 255)
