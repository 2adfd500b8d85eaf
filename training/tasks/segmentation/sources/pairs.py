"""Images and their label maps, in files or in records."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf


class Problem(NamedTuple):
    """A file that is no example.

    Attributes:
        file: Its path.
        reason: Why; the same words for all of a kind.
    """

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Image files with the file of each one's label map.

    Attributes:
        names: Names of the classes.
        table: As `label_map.make_table` returns.
        files: For each split a list of (image, label map).
        problems: For each split a list of `Problem`.
    """

    names: tuple
    table: object
    files: dict
    problems: dict

    @property
    def splits(self):
        """Names of the splits."""
        return tuple(self.files)

    def size(self, split):
        """Number of examples of a split."""
        return len(self.files[split])

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """Paths of both files, shuffled as a whole; see `Task.open_source`."""
        images, labels = zip(*self.files[split], strict=True)
        examples = tf.data.Dataset.from_tensor_slices(
            {"name": list(images), "labels": list(labels)}
        )
        if seed is not None:
            examples = examples.shuffle(
                len(images), seed, reshuffle_each_iteration=False
            )
        return examples.shard(*shard)

    def load(self, example):
        """The content of both files."""
        return {
            "image": tf.io.read_file(example["name"]),
            "labels": tf.io.read_file(example["labels"]),
        }


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Images with label maps that TFDS prepared.

    Attributes:
        names: Names of the classes.
        table: As `label_map.make_table` returns.
        records: `classification.sources.records.Records`, that gives the
            content of both files.
        problems: Empty.
    """

    names: tuple
    table: object
    records: object
    problems: dict = dataclasses.field(default_factory=dict)

    @property
    def splits(self):
        """Names of the splits."""
        return self.records.splits

    def size(self, split):
        """Number of examples of a split."""
        return self.records.size(split)

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """Records; see `Records.examples`."""
        return self.records.examples(split, seed, buffer, shard)

    def load(self, example):
        """The content of both files."""
        image, labels = self.records.load(example)
        return {"image": image, "labels": labels}
