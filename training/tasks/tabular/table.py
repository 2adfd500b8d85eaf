"""Images with labels or numbers from a table, CSV or JSON Lines."""

import csv
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcvit_training.tasks.sources import Files

IMAGE, SPLIT, LABELS = "image", "split", "labels"
"""Columns with a meaning of their own; every other one is an output."""


@dataclass(frozen=True)
class Table(Files):
    """Images in files, with an array of numbers each.

    Attributes:
        names: Names of the numbers.
        files: For each split a list of paths.
        values: For each split a float32 array `(images, names)`.
        problems: Empty: a table of which a row cannot be used is refused.
    """

    names: tuple
    files: dict
    values: dict
    problems: dict = field(default_factory=dict)

    def columns(self, split):
        """Paths and numbers."""
        return {"name": self.files[split], "values": self.values[split]}

    def load(self, example):
        """The encoded image and the numbers of an example."""
        return tf.io.read_file(example["name"]), example["values"]


def open_table(path, holdout) -> Table:
    """Reads a table of images.

    Args:
        path: Path of a `.csv` file with a header, or of a `.jsonl` file of one
            object per line. `image` is the path of an image, from the table's
            folder on. `split`, where it is there, names the split. In JSON
            Lines `labels` may be the list of the labels that apply, which are
            1 in what follows, and the others 0. All else are numbers.
        holdout: Share of the images that becomes `test` where there is no
            `split`; the rest is `train`.

    Returns:
        `Table`.

    Raises:
        ValueError: If the table cannot be read, or a number is none. The
            message has the line.
    """
    path = Path(path).expanduser()
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path} has no images")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    names = [n for n in names if n not in (IMAGE, SPLIT)]
    if not names:
        raise ValueError(f"{path} has no column of labels or numbers")
    files, values = {}, {}
    for line, row in rows:
        try:
            numbers = [float(row[name]) for name in names]
            image = str(path.parent / row[IMAGE])
        except KeyError as error:
            raise ValueError(f"{path}, line {line}: no {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {line}: {error}") from None
        if not np.isfinite(numbers).all():
            raise ValueError(f"{path}, line {line}: a number is not finite")
        # By the hash of the name: it stays where it is when others come.
        draw = zlib.crc32(row[IMAGE].encode()) / 2**32
        split = row.get(SPLIT) or ("test" if draw < holdout else "train")
        files.setdefault(split, []).append(image)
        values.setdefault(split, []).append(numbers)
    return Table(
        tuple(names), files, {k: np.float32(v) for k, v in values.items()}
    )


def _rows(path):
    """Number and fields of each line."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file)
                for row in reader:
                    if None in row or None in row.values():
                        raise ValueError(
                            f"{path}, line {reader.line_num}: "
                            f"{len(reader.fieldnames)} fields are wanted"
                        )
                    yield reader.line_num, row
                return
            lines = [
                (i, json.loads(line))
                for i, line in enumerate(file, 1)
                if line.strip()
            ]
    except OSError as error:
        raise ValueError(
            f"`data.dataset` must be a .csv or .jsonl file: {path}: "
            f"{error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON Lines: {error}") from None
    if not all(isinstance(row, dict) for _, row in lines):
        raise ValueError(f"{path} must have an object on every line")
    for i, row in lines:
        names = row.get(LABELS, [])
        is_list = isinstance(names, list)
        if not is_list or not all(isinstance(n, str) for n in names):
            raise ValueError(
                f"{path}, line {i}: `{LABELS}` must be a list of names. "
                f"Received: {json.dumps(names)}"
            )
    labels = sorted({name for _, r in lines for name in r.get(LABELS, ())})
    for i, row in lines:
        if LABELS in row:
            applies = row.pop(LABELS)
            row |= {name: float(name in applies) for name in labels}
        yield i, row
