"""The graph of a detector's signatures of files."""

import tensorflow as tf

from gcvit_keras.detection.graph import read
from gcvit_keras.detection.masks import paste_masks
from gcvit_keras.detection.results import DIVISOR

OUTPUTS = ("boxes", "scores", "classes", "masks", "count")
"""What a detector gives, by name."""


def detect_file(content, compute, reader):
    """Finds the objects of one file.

    Args:
        content: Scalar string tensor, the content of the file.
        compute: Function of images and their sizes, to a dict of `OUTPUTS`.
        reader: `DetectionReader`.

    Returns:
        Dict of what `row_specs` says, boxes in pixels of the file.
    """
    image, size, original, valid = read(content, reader, DIVISOR)
    answer = {
        name: value[0]
        for name, value in compute(image, size[None]).items()
        if name in OUTPUTS
    }
    factors = tf.cast(tf.tile((size / original)[::-1], (2,)), tf.float32)
    answer["boxes"] /= factors
    answer["sizes"] = original
    none = {name: -1 if name == "classes" else 0 for name in answer}
    answer = {
        name: tf.where(valid, value, tf.cast(none[name], value.dtype))
        for name, value in answer.items()
    }
    return {**answer, "valid": valid}


def row_specs(rows):
    """Describes what `detect_file` returns, of so many rows at most."""
    return {
        "boxes": tf.TensorSpec((rows, 4), tf.float32),
        "scores": tf.TensorSpec((rows,), tf.float32),
        "classes": tf.TensorSpec((rows,), tf.int32),
        "masks": tf.TensorSpec((rows, 28, 28), tf.float32),
        "count": tf.TensorSpec((), tf.int32),
        "sizes": tf.TensorSpec((2,), tf.int32),
        "valid": tf.TensorSpec((), tf.bool),
    }


def encode_masks(image):
    """Draws the masks of an image, a PNG each, empty beyond the count.

    `image` is a list of the masks `(rows, 28, 28)`, the boxes `(rows, 4)`, the
    count and the size of the image. Returns strings `(rows,)`.
    """
    masks, boxes, count, size = image

    def encode(row):
        mask, box = (tf.gather(x, row)[None, None] for x in (masks, boxes))
        pixels = paste_masks(mask, box, size[0], size[1])[0, 0, :, :, None]
        return tf.io.encode_png(255 * tf.cast(pixels, tf.uint8))

    drawn = tf.map_fn(encode, tf.range(count), fn_output_signature=tf.string)
    none = tf.fill((tf.shape(boxes)[0] - count,), "")
    return tf.concat([drawn, none], 0)
