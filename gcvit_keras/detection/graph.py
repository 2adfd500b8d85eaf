"""Image files as a detector reads them, in TensorFlow operations."""

import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded, resized_size

BROKEN = 32
"""Side of the grey image in place of a file that cannot be read."""
GREY = 127.0


def read(encoded, reader, divisor):
    """Reads an encoded image, as `MaskRCNN.detect` does.

    Args:
        encoded: Scalar string tensor, the content of an image file.
        reader: `DetectionReader`.
        divisor: Integer of which the sides of the result are multiples.

    Returns:
        Tuple of the image, float32 `(1, height, width, 3)`, padded; its size
        before padding and that of the file's, int32 `(2,)`; and a scalar
        boolean: whether it could be read, else it is grey.
    """

    def resized():
        image = decode(encoded, reader.max_pixels)
        original = tf.shape(image)[:2]
        size = resized_size(original, reader.short_side, reader.long_side)
        image = tf.image.resize(tf.cast(image, tf.float32), size)
        return tf.round(image), size, original, True

    def grey(_):
        size = tf.constant((BROKEN, BROKEN))
        return tf.fill((BROKEN, BROKEN, 3), GREY), size, size, False

    image, size, original, valid = guarded(resized, grey)
    size, original = (tf.ensure_shape(x, (2,)) for x in (size, original))
    bottom, right = tf.unstack(-size % divisor)
    image = tf.pad(image, ((0, bottom), (0, right), (0, 0)))
    image = tf.ensure_shape(image, (None, None, 3))
    return image[None], size, original, tf.ensure_shape(valid, ())
