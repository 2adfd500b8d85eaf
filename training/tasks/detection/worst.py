"""Pictures of the images in which a detector makes most mistakes."""

import numpy as np
from PIL import Image

from gcvit_keras.detection import draw_detections
from gcvit_keras.files import replacing
from gcvit_keras.images.load import open_image
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_training.tasks.detection.masks import decode
from gcvit_training.tasks.detection.measures import CONFIDENT

SIDE = 600
"""Pixels of the longer side of each of both halves, at most."""


def write_worst(worst, evaluator, folder):
    """Draws the worst images: their objects, and beside them what was found.

    Args:
        worst: List of dicts with `"image"`, a path, as `confusions` returns.
        evaluator: The `DetectionEvaluator` that has the detections.
        folder: Path of the folder for `1.jpg`, `2.jpg` and on, which is made.

    Returns:
        Dict of the name of the file of each image that can be read, by path.
    """
    items = {item.path: item for item in evaluator.items}
    folder.mkdir(exist_ok=True)
    names = {}
    for i, row in enumerate(worst, 1):
        item = items[row["image"]]
        try:
            _, image = open_image(item.path, channels=3, max_pixels=MAX_PIXELS)
        except ValueError:  # moved since it was measured: no reason to fail
            continue
        image = np.asarray(image)
        source = evaluator.source
        both = [
            Image.fromarray(draw_detections(image, one, source.names))
            for one in (_objects(item), _found(item, evaluator))
        ]
        for half in both:
            half.thumbnail((SIDE, SIDE))
        picture = np.concatenate([np.asarray(half) for half in both], axis=1)
        names[item.path] = f"{i}.jpg"
        with replacing(folder / names[item.path]) as beside:
            Image.fromarray(picture).save(beside, "JPEG", quality=90)
    return names


def _objects(item):
    """Returns the true objects of an image, without crowds."""
    real = ~item.is_crowd
    found = {"boxes": item.boxes[real], "classes": item.classes[real]}
    if item.masks is not None:
        masks = [m for m, keep in zip(item.masks, real, strict=True) if keep]
        found["masks"] = _decoded(masks, item.size)
    return found


def _found(item, evaluator):
    """Returns the detections of an image that the model is confident of."""
    categories = list(evaluator.source.categories)
    detections = [
        detection
        for detection in evaluator.detections
        if detection["image_id"] == item.id and detection["score"] >= CONFIDENT
    ]
    boxes = np.float64([d["bbox"] for d in detections]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = [categories.index(d["category_id"]) for d in detections]
    found = {
        "boxes": boxes,
        "classes": np.array(classes, int),
        "scores": np.array([d["score"] for d in detections]),
    }
    if detections and "segmentation" in detections[0]:
        masks = [d["segmentation"] for d in detections]
        found["masks"] = _decoded(masks, item.size)
    return found


def _decoded(masks, size):
    masks = [decode(mask) for mask in masks]
    return np.array(masks, bool).reshape(-1, *size)
