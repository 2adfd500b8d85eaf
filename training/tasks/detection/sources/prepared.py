"""TFDS's datasets of boxes, such as `coco/2017`."""

import urllib.parse
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from gcvit_keras.files import replacing
from gcvit_training.tasks.detection.sources.annotations import (
    Annotation,
    image_size,
    make_item,
)
from gcvit_training.tasks.detection.sources.images import Images


def open_prepared(builder, splits, data_dir):
    """Reads the boxes of a TFDS dataset; its files are written out once.

    Records can only be read in order, and images are wanted in any: so each
    file is written, as it is, into `DATA_DIR/detection_images`.

    Args:
        builder: A TFDS builder, prepared, of images with `objects` that have
            a `bbox` and a `label`.
        splits: Names of the splits that are wanted, in TFDS's notation.
        data_dir: Folder for the images.

    Returns:
        `Images` without masks, which no dataset of TFDS's has.

    Raises:
        ValueError: If the dataset has no such objects.
    """
    features = builder.info.features
    try:
        names = features["objects"]["label"].names
        features["objects"]["bbox"], features["image"]  # noqa: B018
    except (KeyError, AttributeError, TypeError):
        raise ValueError(
            "`data.dataset` must have images and objects with bbox and label. "
            f"Received: dataset={builder.info.full_name!r}"
        ) from None
    images = Images(
        tuple(names), tuple(range(1, len(names) + 1)), {}, {}, False, {}
    )
    folder = Path(data_dir) / "detection_images" / builder.info.full_name
    number = 0
    for split in splits:
        try:
            examples = builder.as_dataset(
                split=split,
                decoders={"image": tfds.decode.SkipDecoding()},
                shuffle_files=False,
            )
        except (KeyError, ValueError, AssertionError):
            continue
        items, problems, count = [], [], 0
        # No two splits in one folder: `train[:9]` is not `train[9:]`.
        place = folder / urllib.parse.quote(split, safe="")
        place.mkdir(parents=True, exist_ok=True)
        for i, example in enumerate(tfds.as_numpy(examples)):
            number += 1
            path = place / f"{i:08d}.jpg"
            if not path.is_file():
                with replacing(path) as beside:
                    beside.write_bytes(example["image"])
            size = image_size(path)
            annotations = _annotations(example["objects"], size, path.name)
            count += len(annotations)
            items.append(
                make_item(
                    path, number, size, annotations, problems, False, False
                )
            )
        images.items[split], images.problems[split] = items, problems
        images.annotations[split] = count
    images.__post_init__()
    return images


def _annotations(objects, size, name):
    """The objects of an example; TFDS's boxes are shares y1, x1, y2, x2."""
    height, width = size
    count = len(objects["label"])
    crowds = objects.get("is_crowd", np.zeros(count, bool))
    annotations = []
    for k in range(count):
        y1, x1, y2, x2 = objects["bbox"][k] * np.array([height, width] * 2)
        annotations.append(
            Annotation(
                f"{name}, object {k + 1}",
                [x1, y1, x2, y2],
                int(objects["label"][k]),
                bool(crowds[k]),
            )
        )
    return annotations
