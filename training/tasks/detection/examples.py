"""From an image file and its objects to the model's input and targets."""

import functools

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode
from gcvit_training.tasks.detection.masks import cut_mask
from gcvit_training.tasks.detection.masks import decode as draw

LEAST_SIDE = 1
"""Pixels of the original image that a box must have in each direction, as in
mmdet; crops leave less of some."""


def make_image(content):
    """Reads, resizes, crops and mirrors an image, as its plan says.

    Args:
        content: As `Images.load` returns.

    Returns:
        Uint8 tensor `(height, width, 3)`. An operation fails where the file
        has another size than annotated.
    """
    image = decode(content["encoded"], trusted=True)
    same = tf.debugging.assert_equal(
        tf.shape(image)[:2],
        content["original"],
        "an image of another size than annotated",
    )
    with tf.control_dependencies([same]):
        image = tf.identity(image)
    return _move(image, content)


def _move(image, plan):
    """Moves an image's pixels, bilinearly without antialiasing, as OpenCV."""
    moved = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=plan["size"],
        scale=plan["scale"],
        translation=plan["shift"],
        kernel_type="triangle",
        antialias=False,
    )[0]
    moved = tf.cast(tf.clip_by_value(tf.round(moved), 0, 255), tf.uint8)
    return tf.cond(plan["is_flipped"], lambda: moved[:, ::-1], lambda: moved)


def place(image, canvas):
    """Puts an image at the top left of zeros, `(*canvas, channels)`."""
    height, width = tf.unstack(tf.shape(image)[:2])
    padding = [[0, canvas[0] - height], [0, canvas[1] - width], [0, 0]]
    channels = image.shape[-1]
    return tf.ensure_shape(tf.pad(image, padding), (*canvas, channels))


def make_objects(content, images, data):
    """Makes the targets of an image, which follow its plan.

    Args:
        content: As `Images.load` returns.
        images: The `Images`.
        data: A `DetectionDataConfig`.

    Returns:
        Dict of `"boxes"` `(max_objects, 4)`, `"classes"` `(max_objects,)`, -1
        beyond the objects, and, if there are masks, `"box_masks"`
        `(max_objects, cells, cells)`.
    """
    n, cells = data.max_objects, data.mask_cells
    types = [tf.float32, tf.int32]
    shapes = [(n, 4), (n,)]
    if images.has_masks:
        types.append(tf.uint8)
        shapes.append((n, cells, cells))
    arrays = tf.numpy_function(
        functools.partial(_objects, images, n, cells),
        [content[k] for k in ("index", "scale", "shift", "size", "is_flipped")],
        types,
        stateful=False,
    )
    names = ("boxes", "classes", "box_masks")
    return {
        name: tf.ensure_shape(array, shape)
        for name, array, shape in zip(names, arrays, shapes, strict=False)
    }


def _objects(images, most, cells, index, scale, shift, size, is_flipped):
    """Boxes, classes and masks of an image, filled up; see `make_objects`."""
    item = images.all_items[index]
    boxes, chosen = move_boxes(item, scale, shift, size)
    if len(chosen) > most:  # the largest ones, in their order
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        largest = np.sort(np.argsort(-areas, kind="stable")[:most])
        boxes, chosen = boxes[largest], chosen[largest]
    count = len(chosen)
    filled_boxes = np.zeros((most, 4), "float32")
    classes = np.full(most, -1, "int32")
    filled_boxes[:count] = boxes
    classes[:count] = item.classes[chosen]
    if is_flipped:
        mirrored = size[1] - boxes[:, [2, 0]]
        filled_boxes[:count, [0, 2]] = mirrored
    if item.masks is None:
        return filled_boxes, classes
    masks = np.zeros((most, cells, cells), "uint8")
    scales = np.float64([scale[1], scale[0]] * 2)
    shifts = np.float64([shift[1], shift[0]] * 2)
    for row, k in enumerate(chosen):
        # The part of the mask that is in the box, after crop and clip.
        region = (boxes[row] - shifts) / scales
        masks[row] = cut_mask(draw(item.masks[k]), region, cells)
    if is_flipped:
        masks = masks[..., ::-1]
    return filled_boxes, classes, np.ascontiguousarray(masks)


def move_boxes(item, scale, shift, size):
    """Moves the boxes of an image, before it is mirrored.

    Args:
        item: An `Item`.
        scale: Vertical and horizontal factor.
        shift: Vertical and horizontal shift.
        size: Height and width of the result.

    Returns:
        Float32 array `(n, 4)` of the boxes that are learned, within the
        result, and their indices.
    """
    factors = np.float64([scale[1], scale[0]] * 2)
    shifts = np.float64([shift[1], shift[0]] * 2)
    height, width = item.size
    original = np.clip(item.boxes, 0, [width, height] * 2)
    moved = original * factors + shifts
    moved = np.clip(moved, 0, [size[1], size[0]] * 2)
    sides = original[:, 2:] - original[:, :2]
    usable = (sides >= LEAST_SIDE).all(1) & ~item.is_crowd
    usable &= (moved[:, 2:] - moved[:, :2] >= LEAST_SIDE).all(1)
    chosen = np.flatnonzero(usable)
    return moved[chosen].astype("float32"), chosen
