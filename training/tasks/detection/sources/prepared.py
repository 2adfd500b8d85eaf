"""TFDS's datasets of boxes, such as `coco/2017`."""

import itertools
import urllib.parse
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from gcvit_keras.files import replacing
from gcvit_training.tasks.detection.sources.annotations import (
    Annotation,
    add_split,
)
from gcvit_training.tasks.detection.sources.images import Images
from gcvit_training.tasks.prepared import prepare


def open_tfds(dataset, splits, data_dir=None):
    """Reads the boxes of a TFDS dataset; its files are written out once.

    Records can only be read in order, and images are wanted in any: so each
    file is written, as it is, into `detection_images` of TFDS's folder.

    Args:
        dataset: Name of a dataset of images with `objects` that have a `bbox`
            and a `label`.
        splits: Names of the splits that are wanted, in TFDS's notation.
        data_dir: Folder of what TFDS prepares. Default: TFDS's own.

    Returns:
        `Images` without masks, which no dataset of TFDS's has, and the names
        of the splits that there are.

    Raises:
        ValueError: If there is no such dataset, or it has no such objects.
    """
    builder = prepare(dataset, data_dir)
    features = builder.info.features
    try:
        names = features["objects"]["label"].names
        features["objects"]["bbox"], features["image"]  # noqa: B018
    except (KeyError, AttributeError, TypeError):
        raise ValueError(
            "`data.dataset` must have images and objects with bbox and label. "
            f"Received: dataset={builder.info.full_name!r}"
        ) from None
    images = Images(tuple(names), tuple(range(1, len(names) + 1)))
    folder = Path(builder.data_dir) / "detection_images"
    folder /= builder.info.full_name
    numbers = itertools.count(1)
    for split in splits:
        try:
            examples = builder.as_dataset(
                split=split,
                decoders={"image": tfds.decode.SkipDecoding()},
                shuffle_files=False,
            )
        except (KeyError, ValueError, AssertionError):
            continue
        # No two splits in one folder: `train[:9]` is not `train[9:]`.
        place = folder / urllib.parse.quote(split, safe="")
        place.mkdir(parents=True, exist_ok=True)
        rows = (
            (path, next(numbers), None, objects)
            for path, objects in _written(examples, place)
        )
        add_split(images, split, rows, _annotations, [])
    return images, builder.info.splits


def _written(examples, folder):
    """The path of each image, whose file is written, and its objects."""
    for i, example in enumerate(tfds.as_numpy(examples)):
        path = folder / f"{i:08d}.jpg"
        if not path.is_file():
            with replacing(path) as beside:
                beside.write_bytes(example["image"])
        objects = example["objects"]
        labels = objects["label"]
        crowds = objects.get("is_crowd", np.zeros(len(labels), bool))
        yield path, list(zip(objects["bbox"], labels, crowds, strict=True))


def _annotations(path, objects, size):
    """The objects of an image; TFDS's boxes are shares y1, x1, y2, x2."""
    height, width = size
    annotations = []
    for k, (box, label, is_crowd) in enumerate(objects, 1):
        y1, x1, y2, x2 = box * np.array([height, width] * 2)
        where = f"{path.name}, object {k}"
        annotations.append(
            Annotation(where, [x1, y1, x2, y2], int(label), bool(is_crowd))
        )
    return annotations
