"""Images and their label maps, in files."""

import dataclasses

import tensorflow as tf

from gcvit_training.tasks.sources import Files


@dataclasses.dataclass(frozen=True)
class Pairs(Files):
    """Image files with the file of each one's label map.

    Attributes:
        names: Names of the classes.
        files: For each split a list of (image, label map).
        table: As `label_map.make_table` returns.
        problems: For each split a list of `Problem`.
    """

    names: tuple
    files: dict
    table: object
    problems: dict

    def columns(self, split):
        """Paths of both files."""
        images, labels = zip(*self.files[split], strict=True)
        return {"name": list(images), "labels": list(labels)}

    def load(self, example):
        """The content of both files."""
        return {
            "image": tf.io.read_file(example["name"]),
            "labels": tf.io.read_file(example["labels"]),
        }
