"""Images in TFRecord files: those that TFDS wrote, and others."""

import contextlib
import functools
import json
import re
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from gcvit_keras.files import replacing
from gcvit_training.tasks.prepared import record_files

READ_AT_ONCE = 16
"""Record files that are read side by side."""
FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}
"""What records that TFDS did not write hold, as TensorFlow's ImageNet."""
INDEX = "gcvit_index.json"
SHARD = re.compile(r"[-_.]\d+([-_.]?of[-_.]?\d+)?$")
"""End of the name of one of the files of a split."""


@dataclass(frozen=True)
class Records:
    """Images in TFRecord files.

    Attributes:
        names: Names of the classes.
        files: For each split a list of (path, records to skip, records to
            take), or a function from a split in TFDS's notation to it.
        parse: From a record to the encoded image and its label.
        splits: Names of the splits.
        problems: Empty; see `Folders`.
    """

    names: tuple
    files: object
    parse: object
    splits: tuple
    problems: dict = field(default_factory=dict)

    def size(self, split):
        """Number of examples of a split."""
        return sum(take for _, _, take in self.files(split))

    def listing(self, split):
        """Lists the files of a split, as `files`; see `Task.open_source`."""
        return self.files(split)

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """Records, not yet decoded.

        Args:
            split: Name of the split.
            seed: Integer tensor to shuffle by, `None` for files in order.
            buffer: Records held to shuffle.
            shard: Number of shards of the files, and the one to read.

        Returns:
            `tf.data.Dataset` of `{"record", "name"}`.
        """
        paths, skips, takes = zip(*self.files(split), strict=True)
        files = tf.data.Dataset.from_tensor_slices(
            (list(paths), np.int64(skips), np.int64(takes))
        )
        if seed is not None:
            files = files.shuffle(
                len(paths), seed, reshuffle_each_iteration=False
            )
        records = files.shard(*shard).interleave(
            _read,
            cycle_length=READ_AT_ONCE,
            block_length=16,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        if seed is not None:
            records = records.shuffle(
                buffer, seed + 1, reshuffle_each_iteration=False
            )
        return records

    def load(self, example):
        """The encoded image and the label of an example."""
        return self.parse(example["record"])


def _read(path, skip, take):
    records = tf.data.TFRecordDataset(path).skip(skip).take(take)
    return records.enumerate(skip).map(
        lambda i, record: {
            "record": record,
            "name": tf.strings.join([path, ":", tf.strings.as_string(i)]),
        }
    )


def open_tfds(builder) -> Records:
    """Opens a prepared dataset of TFDS.

    Args:
        builder: `tfds.core.DatasetBuilder`.

    Returns:
        `Records`.

    Raises:
        ValueError: If it is not of images with class labels, in TFRecords.
    """
    info = builder.info
    where = f"the dataset {info.full_name}"
    if info.file_format.value != "tfrecord":
        raise ValueError(
            f"{where} is stored as {info.file_format.value}; only tfrecord is "
            "read"
        )
    try:
        image, label = info.supervised_keys
        names = tuple(info.features[label].names)
        is_image = isinstance(info.features[image], tfds.features.Image)
    except (TypeError, ValueError, KeyError, AttributeError):
        is_image = False
    if not is_image:
        raise ValueError(f"{where} does not hold images with class labels")

    def parse(record):
        example = info.features.deserialize_example(
            record, decoders={image: tfds.decode.SkipDecoding()}
        )
        return example[image], example[label]

    files = functools.partial(record_files, info)
    return Records(names, files, parse, tuple(info.splits))


def _parse(record):
    example = tf.io.parse_single_example(record, FEATURES)
    return example["image/encoded"], example["image/class/label"]


def open_tfrecords(folder) -> Records:
    """Opens a folder of TFRecord files as TensorFlow's ImageNet has them.

    Args:
        folder: `pathlib.Path`; `labels.txt` in it names the classes.

    Returns:
        `Records`.

    Raises:
        ValueError: If the files, or the names, cannot be used.
    """
    labels = folder / "labels.txt"
    try:
        names = labels.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{labels} must name the classes of the TFRecords, one per line: "
            f"{error}"
        ) from None
    index = _index(folder)
    splits = {}
    for name, (count, least, largest) in sorted(index.items()):
        if count and not (0 <= least and largest <= len(names)):
            raise ValueError(
                f"{folder / name} has labels {least} to {largest}, for "
                f"{len(names)} classes in labels.txt"
            )
        split = SHARD.sub("", name.split(".tfrecord")[0])
        splits.setdefault(split, []).append((str(folder / name), 0, count))
    # TensorFlow's ImageNet counts classes from 1.
    one = max(largest for _, _, largest in index.values()) == len(names)
    if one and min(least for _, least, _ in index.values()) == 0:
        raise ValueError(
            f"{folder} has labels 0 to {len(names)}, for {len(names)} classes "
            "in labels.txt"
        )

    def parse(record):
        image, label = _parse(record)
        return image, label - int(one)

    return Records(tuple(names), splits.__getitem__, parse, tuple(splits))


def _index(folder):
    """Number of records, and least and largest label, of every file.

    Reading them all takes long, so the answer is kept in the folder.
    """
    files = sorted(p for p in folder.glob("*.tfrecord*") if p.is_file())
    stamp = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    kept = folder / INDEX
    try:
        index = json.loads(kept.read_text())
        if index["stamp"] == stamp:
            return index["files"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    index = {}
    for path in files:
        labels = tf.data.TFRecordDataset(str(path)).map(
            lambda record: _parse(record)[1]
        )
        try:
            found = [int(label) for label in labels.as_numpy_iterator()]
        except tf.errors.OpError as error:
            raise ValueError(
                f"{path} is no TFRecord file of image/encoded and "
                f"image/class/label: {error.message.splitlines()[0]}"
            ) from None
        index[path.name] = [
            len(found),
            min(found, default=0),
            max(found, default=0),
        ]
    text = json.dumps({"stamp": stamp, "files": index})
    # A folder that only can be read is read again next time.
    with contextlib.suppress(OSError), replacing(kept) as beside:
        beside.write_text(text)
    return index
