"""Images with label maps that TFDS prepares."""

import dataclasses
import functools
import re

import tensorflow_datasets as tfds

from gcvit_training.tasks.classification.sources import check_splits
from gcvit_training.tasks.classification.sources.records import Records
from gcvit_training.tasks.prepared import prepare, record_files
from gcvit_training.tasks.segmentation.label_map import make_table

LABELS = re.compile("annotation|label|mask|segmentation")
"""In the names of features that are label maps."""


@dataclasses.dataclass(frozen=True)
class Prepared(Records):
    """Records of images with label maps.

    Attributes:
        table: As `label_map.make_table` returns.
    """

    table: object = None


def open_tfds(data, data_dir=None):
    """Opens, and prepares, a dataset of TFDS.

    Args:
        data: A `SegmentationDataConfig`.
        data_dir: Folder of what TFDS prepares.

    Returns:
        `Prepared`.

    Raises:
        ValueError: If there is no such dataset, it has no label maps, or lacks
            a split or `data.classes`.
    """
    info = prepare(data.dataset, data_dir).info
    image, labels = _features(info)
    if data.classes is None:
        raise ValueError(
            "`data.classes` must be the number of classes for datasets of "
            f"TFDS, which do not say. Received: dataset={data.dataset!r}"
        )

    def parse(record):
        skip = tfds.decode.SkipDecoding()
        example = info.features.deserialize_example(
            record, decoders={image: skip, labels: skip}
        )
        return {"image": example[image], "labels": example[labels]}

    source = Prepared(
        names=tuple(f"class {k}" for k in range(data.classes)),
        files=functools.partial(record_files, info),
        parse=parse,
        splits=tuple(info.splits),
        table=make_table(data.classes, data.reduce_zero_label),
    )
    check_splits(source, data)
    return source


def _features(info):
    """Names of the features of the image and of its label map."""
    images = {
        name: feature
        for name, feature in info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    labels = [
        name
        for name, feature in images.items()
        if feature.shape[-1] == 1 and LABELS.search(name)
    ]
    pictures = [name for name in images if name not in labels]
    if not labels or not pictures:
        raise ValueError(
            f"the dataset {info.full_name} does not hold images with label maps"
        )
    return pictures[0], labels[0]
