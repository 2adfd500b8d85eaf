"""Boxes and affine maps of one image."""

import tensorflow as tf


def box(height, width, top, bottom, left, right):
    """Makes the boolean mask `(height, width, 1)` of a box in an image."""
    rows, columns = tf.range(height)[:, None], tf.range(width)[None]
    inside = (rows >= top) & (rows < bottom)
    inside &= (columns >= left) & (columns < right)
    return inside[..., None]


def warp(image, a, b, x, c, d, y, fill):
    """Maps an image by an affine map about its centre, bilinearly.

    Pixel (u, v) of the result is that at M (u, v) + (x, y) of the image, M
    being [[a, b], [c, d]].

    Args:
        image: Float32 tensor `(height, width, channels)` of a static shape.
        a: First row of M, as is `b`.
        b: See `a`.
        x: Shift in pixels along the columns.
        c: Second row of M, as is `d`.
        d: See `c`.
        y: Shift in pixels along the rows.
        fill: List of the channels' values outside of the image.

    Returns:
        Tensor of the same shape.
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
