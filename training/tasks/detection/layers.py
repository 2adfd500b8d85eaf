"""A user's own augmentation of images with their boxes and masks."""

import numpy as np
import tensorflow as tf

from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_training.tasks.classification.layers import call_layer, call_layers
from gcvit_training.tasks.detection.masks import cut_mask

LEAST_SIDE = 1
"""Pixels in each direction of a box that is still an object."""


def vary(layers, image, targets, seed):
    """Varies an image and its objects by Keras layers, or by functions.

    They are called as Keras calls its own: with a dict of `"images"` `(1,
    height, width, 3)`, `"bounding_boxes"`, a dict of `"boxes"` `(1, n, 4)` and
    `"labels"` `(1, n)`, and, where there are masks, `"segmentation_masks"`
    `(1, height, width, n)`, a channel per object; and give such a dict. Where
    there are masks, boxes are drawn around them anew.

    Args:
        layers: As `load_layers` returns.
        image: Uint8 tensor `(height, width, 3)`.
        targets: Dict of the filled `"boxes"`, `"classes"` and, with masks,
            `"box_masks"`.
        seed: Integer tensor `(2,)`.

    Returns:
        Image and targets of the same shapes. An operation fails where a layer
        changes the size of the image.
    """
    real = targets["classes"] >= 0
    boxes = tf.boolean_mask(targets["boxes"], real)
    inputs = {
        "images": tf.cast(image, tf.float32)[None],
        "bounding_boxes": {
            "boxes": boxes[None],
            "labels": tf.boolean_mask(targets["classes"], real)[None],
        },
    }
    if "box_masks" in targets:
        masks = tf.numpy_function(
            _render,
            [
                boxes,
                tf.boolean_mask(targets["box_masks"], real),
                tf.shape(image)[:2],
            ],
            tf.float32,
            stateful=False,
        )
        inputs["segmentation_masks"] = tf.ensure_shape(
            masks[None], (1, None, None, None)
        )
    outputs = call_layers(layers, inputs, seed, _call)
    varied = outputs["images"][0]
    same = tf.debugging.assert_equal(
        tf.shape(varied), tf.shape(image), "layers must keep an image's size"
    )
    with tf.control_dependencies([same]):
        varied = tf.cast(tf.clip_by_value(tf.round(varied), 0, 255), tf.uint8)
    found = outputs["bounding_boxes"]
    arguments = [
        found["boxes"][0],
        tf.cast(found["labels"][0], tf.int32),
        tf.shape(image)[:2],
        *tf.nest.map_structure(tf.shape, list(targets.values())),
    ]
    if "box_masks" in targets:
        arguments.append(outputs["segmentation_masks"][0])
    arrays = tf.numpy_function(
        _fill, arguments, [v.dtype for v in targets.values()], stateful=False
    )
    return tf.ensure_shape(varied, image.shape), {
        name: tf.ensure_shape(array, value.shape)
        for (name, value), array in zip(targets.items(), arrays, strict=True)
    }


def _call(layer, inputs):
    """Calls a layer of Keras or keras-cv, or a function, on images and objects.

    Layers of keras-cv want labels to be named `"classes"`, give ragged boxes,
    and leave out the ones that left the image, but not their masks. Where there
    are masks, they alone tell where objects are.
    """
    if type(layer).__module__.partition(".")[0] != "keras_cv":
        return call_layer(layer, inputs)
    objects = inputs["bounding_boxes"]
    given = {"boxes": objects["boxes"], "classes": objects["labels"]}
    outputs = call_layer(layer, {**inputs, "bounding_boxes": given})
    if "segmentation_masks" not in inputs:
        found = outputs["bounding_boxes"]
        objects = {"boxes": found["boxes"], "labels": found["classes"]}
        objects = {
            k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v
            for k, v in objects.items()
        }
    return {**outputs, "bounding_boxes": objects}


def _render(boxes, masks, size):
    """Draws masks over their boxes into the image, `(height, width, n)`."""
    drawn = paste_masks_numpy(masks / 255, boxes, *size)
    return np.ascontiguousarray(np.moveaxis(drawn, 0, -1), "float32")


def _fill(boxes, labels, size, *rest):
    """Targets of what is left of the objects, filled up."""
    (most, _), masks = rest[0], None
    if len(rest) == 4:  # shapes of boxes, classes and masks, and the masks
        masks, cells = rest[3] >= 0.5, rest[2][-1]
    new_boxes = np.zeros((most, 4), "float32")
    classes = np.full(most, -1, "int32")
    new_masks = None
    if masks is not None:
        new_masks = np.zeros((most, cells, cells), "uint8")
    row = 0
    for k, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        if masks is not None:
            if not masks[..., k].any():
                continue
            rows = np.flatnonzero(masks[..., k].any(1))
            columns = np.flatnonzero(masks[..., k].any(0))
            box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        box = np.clip(box, 0, [size[1], size[0]] * 2)
        sides = np.subtract(box[2:], box[:2])
        if label < 0 or row == most or (sides < LEAST_SIDE).any():
            continue
        new_boxes[row], classes[row] = box, label
        if masks is not None:
            mask = masks[..., k].astype("uint8")
            new_masks[row] = cut_mask(mask, box, cells)
        row += 1
    if masks is None:
        return new_boxes, classes
    return new_boxes, classes, new_masks
