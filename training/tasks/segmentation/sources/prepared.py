"""Images with label maps that TFDS prepares."""

import re

import tensorflow_datasets as tfds

from gcvit_training.tasks.classification.sources.records import Records
from gcvit_training.tasks.segmentation.label_map import make_table
from gcvit_training.tasks.segmentation.sources.pairs import Prepared

LABELS = re.compile("annotation|label|mask|segmentation")
"""In the names of features that are label maps."""


def open_tfds(data, folder, splits, data_dir=None):
    """Opens, and prepares, a dataset of TFDS.

    Args:
        data: A `SegmentationDataConfig`.
        folder: `pathlib.Path` of `data.dataset`, which TFDS may have written.
        splits: Names of the splits that have to be there.
        data_dir: Folder of what TFDS prepares.

    Returns:
        `Prepared`.

    Raises:
        ValueError: If there is no such dataset, it has no label maps, or lacks
            a split or `data.classes`.
    """
    try:
        if folder.is_dir():
            builder = tfds.builder_from_directory(str(folder))
        else:
            builder = tfds.builder(
                data.dataset, data_dir=data_dir and str(data_dir)
            )
    except tfds.core.DatasetNotFoundError:
        raise ValueError(
            "`data.dataset` must be a folder or a name that TFDS knows. "
            f"Received: dataset={data.dataset!r}"
        ) from None
    builder.download_and_prepare()
    info = builder.info
    image, labels = _features(info)
    if data.classes is None:
        raise ValueError(
            "`data.classes` must be the number of classes for datasets of "
            f"TFDS, which do not say. Received: dataset={data.dataset!r}"
        )

    def files(split):
        return [
            (
                f.filename,
                f.skip,
                f.take if f.take >= 0 else f.examples_in_shard - f.skip,
            )
            for f in info.splits[split].file_instructions
        ]

    def parse(record):
        skip = tfds.decode.SkipDecoding()
        example = info.features.deserialize_example(
            record, decoders={image: skip, labels: skip}
        )
        return example[image], example[labels]

    records = Records((), files, parse, tuple(info.splits))
    for split in splits:
        try:
            count = records.size(split)
        except (KeyError, ValueError, AssertionError):
            count = 0
        if not count:
            raise ValueError(
                f"`data` must name splits of {sorted(info.splits)}. Received: "
                f"{split!r}"
            )
    names = tuple(f"class {k}" for k in range(data.classes))
    table = make_table(len(names), data.reduce_zero_label)
    return Prepared(names, table, records)


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
