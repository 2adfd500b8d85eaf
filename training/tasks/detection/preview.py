"""Training images with the objects that a run sees in them."""

import collections
import dataclasses

import numpy as np

from gcvit_keras.detection import draw_detections
from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_training.data import training_batches

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
            found = {name: one[name][real] for name in ("boxes", "classes")}
            if "box_masks" in one:
                masks = one["box_masks"][real] / 255
                found["masks"] = paste_masks_numpy(
                    masks, found["boxes"], height, width
                )
            counts = collections.Counter(one["classes"][real].tolist())
            labels = [f"{n} {names[k]}" for k, n in counts.most_common(NAMED)]
            pictures.append(draw_detections(image, found, names))
            titles.append(", ".join(labels) or "no objects")
    return pictures, titles


def _in_small_batches(task):
    """The task with batches that the training split can fill."""
    data, source = task.config.data, task.source
    batch = min(data.batch_size, source.size(data.train_split))
    data = data.model_copy(update={"batch_size": batch})
    config = task.config.model_copy(update={"data": data})
    return type(task)(config, dataclasses.replace(source, settings=config))
