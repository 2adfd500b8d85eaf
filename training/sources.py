"""Where images and labels come from: TFDS, TFRecords or class folders."""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from gcvit_training.digits import Digits

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""Of image files, in any case, that TensorFlow decodes."""
READ_AT_ONCE = 16
"""Record files that are read side by side."""
FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}
"""Of TFRecords that TFDS did not write: what TensorFlow's ImageNet has."""
INDEX = "gcvit_index.json"


def open_source(dataset, data_dir=None, holdout=0.1):
    """Finds a dataset, and prepares it where TFDS has to.

    Args:
        dataset: `digits`; a name that TFDS knows; or a folder: one that TFDS
            wrote, one of `SPLIT*.tfrecord*` files with `labels.txt`, or one
            of class folders, `SPLIT/CLASS/IMAGE` or `CLASS/IMAGE`.
        data_dir: Folder of what TFDS prepares; made where missing. Default:
            TFDS's own.
        holdout: Share of every class of `CLASS/IMAGE` folders that becomes
            the split `test`; the rest is `train`.

    Returns:
        A source: `names` of the classes, `size(split)`, and `examples` and
        `load` for the pipeline.

    Raises:
        ValueError: If there is no such dataset, or it cannot be used.
    """
    folder = Path(dataset).expanduser()
    if folder.is_dir() and dataset != "digits":
        if (folder / "dataset_info.json").is_file():
            return _tfds(tfds.builder_from_directory(str(folder)))
        if any(folder.glob("*.tfrecord*")):
            return _tfrecords(folder)
        return _class_folders(folder, holdout)
    if dataset[:1] in (".", "/", "~"):
        raise ValueError(f"`data.dataset` is no folder: {dataset}")
    data_dir = data_dir and str(data_dir)
    if dataset == "digits":
        builder = Digits(data_dir=data_dir)
    else:
        try:
            builder = tfds.builder(dataset, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            raise ValueError(
                "`data.dataset` must be digits, a name that TFDS knows or a "
                f"folder. Received: dataset={dataset!r}"
            ) from None
    builder.download_and_prepare()
    return _tfds(builder)


@dataclass(frozen=True)
class Records:
    """Images in TFRecord files.

    Attributes:
        names: Names of the classes.
        files: For each split a list of (path, records to skip, records to
            take), or a function from a split in TFDS's notation to it.
        parse: From a record to the encoded image and its label.
        splits: Names of the splits.
    """

    names: tuple
    files: object
    parse: object
    splits: tuple

    def size(self, split):
        """Number of examples of a split."""
        return sum(take for _, _, take in self.files(split))

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


@dataclass(frozen=True)
class Folders:
    """Images in files, a folder a class.

    Attributes:
        names: Names of the classes.
        files: For each split a list of (path, label).
    """

    names: tuple
    files: dict

    @property
    def splits(self):
        """Names of the splits."""
        return tuple(self.files)

    def size(self, split):
        """Number of examples of a split."""
        return len(self.files[split])

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """As of `Records`; the files are shuffled whole, and not yet read."""
        paths, labels = zip(*self.files[split], strict=True)
        examples = tf.data.Dataset.from_tensor_slices(
            {"name": list(paths), "label": np.int64(labels)}
        )
        if seed is not None:
            examples = examples.shuffle(
                len(paths), seed, reshuffle_each_iteration=False
            )
        return examples.shard(*shard)

    def load(self, example):
        """The encoded image and the label of an example."""
        return tf.io.read_file(example["name"]), example["label"]


@dataclass(frozen=True)
class Sample:
    """A few examples of another source, spread evenly over each split.

    In the order of a split, which often is that of the classes.

    Attributes:
        source: The other source.
        count: Examples of a split, at most.
    """

    source: object
    count: int

    @property
    def names(self):
        """Names of the classes."""
        return self.source.names

    def size(self, split):
        """Number of examples of a split."""
        return min(self.source.size(split), self.count)

    def examples(self, split):
        """As of the other source, in its order; no other is decoded."""
        size, last = self.size(split), self.source.size(split) - 1
        wanted = np.arange(size) * last // max(size - 1, 1)
        examples = self.source.examples(split).enumerate()
        return (
            examples.filter(lambda i, _: tf.reduce_any(i == wanted))
            .map(lambda _, example: example)
            .take(size)
        )

    def load(self, example):
        """The encoded image and the label of an example."""
        return self.source.load(example)


def check_split(source, split, field):
    """Refuses a split that a source does not have.

    Args:
        source: As `open_source` returns.
        split: Name of the split.
        field: What the message calls it.

    Raises:
        ValueError: If it is unknown or empty.
    """
    try:
        size = source.size(split)
    except (KeyError, ValueError, AssertionError):
        raise ValueError(
            f"`{field}` must be one of {sorted(source.splits)}"
            f", or part of one of TFDS's. Received: {split!r}"
        ) from None
    if not size:
        raise ValueError(f"`{field}` has no images: {split!r}")


def _tfds(builder):
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
        example = info.features.deserialize_example(
            record, decoders={image: tfds.decode.SkipDecoding()}
        )
        return example[image], example[label]

    return Records(names, files, parse, tuple(info.splits))


def _parse(record):
    example = tf.io.parse_single_example(record, FEATURES)
    return example["image/encoded"], example["image/class/label"]


def _tfrecords(folder):
    labels = folder / "labels.txt"
    try:
        names = labels.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{labels} must name the classes of the TFRecords, one a line: "
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
        split = name.split(".tfrecord")[0].split("-")[0]
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
    beside = folder / f".{INDEX}.{os.getpid()}"
    try:
        beside.write_text(text)
        os.replace(beside, kept)
    except OSError:  # a folder that only can be read; read it again next time
        beside.unlink(missing_ok=True)
    return index


def _class_folders(folder, holdout):
    inner = _folders(folder)
    # With splits, the folders in this one hold folders of images.
    split = {p.name: p for p in inner if _folders(p) and not _images(p)}
    if split:
        classes = {
            name: [p for p in _folders(path)] for name, path in split.items()
        }
        names = sorted({p.name for paths in classes.values() for p in paths})
        files = {
            name: [
                (str(image), names.index(path.name))
                for path in paths
                for image in _images(path)
            ]
            for name, paths in classes.items()
        }
    else:
        names = [p.name for p in inner if _images(p)]
        files = {"train": [], "test": []}
        for label, name in enumerate(names):
            # By the hash of the name: a file stays in its split when others
            # are added.
            images = sorted(
                _images(folder / name),
                key=lambda path: zlib.crc32(path.name.encode()),
            )
            held = round(holdout * len(images))
            if holdout and len(images) > 1:
                held = max(1, held)
            files["test"] += [(str(p), label) for p in sorted(images[:held])]
            files["train"] += [(str(p), label) for p in sorted(images[held:])]
    if not names or not any(files.values()):
        raise ValueError(
            f"{folder} has no class folders of images "
            f"({', '.join(s[1:] for s in SUFFIXES)})"
        )
    return Folders(tuple(names), files)


def _folders(folder):
    return sorted(
        p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."
    )


def _images(folder):
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and p.name[0] != "."
    )
