"""Training images with the objects that a run sees in them."""

import collections
import dataclasses

import numpy as np

from gcvit_training.data import training_batches

COLOURS = np.uint8(
    [
        [230, 25, 75], [60, 180, 75], [255, 225, 25], [0, 130, 200],
        [245, 130, 48], [145, 30, 180], [70, 240, 240], [240, 50, 230],
    ]
)  # fmt: skip
EDGE = 2
"""Pixels of the line around a box."""
NAMED = 3
"""Classes that a title counts, the most frequent ones."""


def preview(task, count):
    """Draws the objects into the first training images.

    Args:
        task: The run's `Detection`.
        count: Images, at most.

    Returns:
        List of uint8 arrays `(height, width, 3)`, and for each its title, which
        counts the objects by class.
    """
    pictures, titles = [], []
    names, task = task.source.names, _in_small_batches(task)
    for inputs, targets in training_batches(task).as_numpy_iterator():
        for row in range(len(inputs["sizes"])):
            if len(pictures) == count:
                return pictures, titles
            one = {name: values[row] for name, values in targets.items()}
            height, width = inputs["sizes"][row]
            image = inputs["images"][row, :height, :width].astype("uint8")
            real = np.flatnonzero(one["classes"] >= 0)
            for k in real:
                mask = one.get("box_masks")
                draw(
                    image,
                    one["boxes"][k],
                    COLOURS[k % len(COLOURS)],
                    None if mask is None else mask[k],
                )
            counts = collections.Counter(one["classes"][real].tolist())
            labels = [f"{n} {names[k]}" for k, n in counts.most_common(NAMED)]
            pictures.append(image)
            titles.append(", ".join(labels) or "no objects")
    return pictures, titles


def _in_small_batches(task):
    """The task with batches that the training split can fill."""
    data, source = task.config.data, task.source
    batch = min(data.batch_size, source.size(data.train_split))
    data = data.model_copy(update={"batch_size": batch})
    config = task.config.model_copy(update={"data": data})
    return type(task)(config, dataclasses.replace(source, settings=config))


def draw(image, box, colour, mask=None):
    """Draws a box, and the mask within it, into an image.

    Args:
        image: Uint8 array `(height, width, 3)`; it is changed.
        box: Four numbers x1, y1, x2, y2 in pixels.
        colour: Uint8 array `(3,)`.
        mask: Uint8 array `(cells, cells)` over the box, or `None`.
    """
    height, width = image.shape[:2]
    x1, y1 = np.floor(np.maximum(box[:2], 0)).astype(int)
    x2 = int(np.clip(np.ceil(box[2]), x1 + 1, width))
    y2 = int(np.clip(np.ceil(box[3]), y1 + 1, height))
    part = image[y1:y2, x1:x2]
    if mask is not None:
        sides = np.maximum(box[2:] - box[:2], 1e-6)
        y = (np.arange(y1, y2) + 0.5 - box[1]) / sides[1] * len(mask)
        x = (np.arange(x1, x2) + 0.5 - box[0]) / sides[0] * len(mask)
        y, x = (np.clip(v, 0, len(mask) - 1).astype(int) for v in (y, x))
        inside = mask[y][:, x] >= 128
        part[inside] = part[inside] // 2 + colour // 2
    for edge in (part[:EDGE], part[-EDGE:], part[:, :EDGE], part[:, -EDGE:]):
        edge[:] = colour
