"""Parts that the sources of several tasks have: files, splits, problems."""

import zlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""Suffixes, in any case, of files that are images without a look at them."""


class Problem(NamedTuple):
    """A file, or a part of one, that cannot be used as it is.

    Attributes:
        where: Which one, for a person: mostly its path.
        reason: What is wrong; the same words for all of a kind.
        is_used: Whether it is used nevertheless.
    """

    where: str
    reason: str
    is_used: bool = False


def count_problems(problems):
    """Counts problems by what is wrong.

    Args:
        problems: List of `Problem`.

    Returns:
        Dict of reason to `{"count", "used", "first"}`: how many there are,
        whether these are used nevertheless, and where the first one is.

    Examples:
    >>> from gcvit_training.tasks.sources import Problem, count_problems
    >>> count_problems([Problem("a.tif", "a TIFF"), Problem("b.tif", "a TIFF")])
    {'a TIFF': {'count': 2, 'used': False, 'first': 'a.tif'}}
    """
    counts = {}
    for where, reason, is_used in problems:
        row = {"count": 0, "used": is_used, "first": where}
        counts.setdefault(reason, row)["count"] += 1
    return counts


def describe_problems(problems):
    """Says in words which files of a source are no examples.

    Args:
        problems: Dict of split to a list of `Problem`.

    Returns:
        A line of text for each reason.
    """
    counts = count_problems([p for some in problems.values() for p in some])
    return [
        f"{row['count']} ignored ({reason}), such as {row['first']}"
        for reason, row in counts.items()
    ]


def list_problems(problems):
    """Makes rows of problems, which JSON can hold.

    Args:
        problems: List of `Problem`.

    Returns:
        List of `{"file", "reason"}`.
    """
    return [{"file": p.where, "reason": p.reason} for p in problems]


HOLD_OUT = ("train", "test")
"""Splits of a dataset that has none."""


def find_split(split, names):
    """Finds a split by its name, by its short one or by its long one.

    Args:
        split: Name that is wanted, such as `"train"`.
        names: Names that there are, such as `"training"` or `"train2017"`.

    Returns:
        One of the names; `None` where none of them, or several, begin so.
    """
    if split in names:
        return split
    near = [n for n in names if n.startswith(split) or split.startswith(n)]
    return near[0] if len(near) == 1 else None


def hold_out(items, holdout, name=str):
    """Holds a share out, by the hash of each one's name.

    So each stays in its split when others are added.

    Args:
        items: List of what is split, such as paths.
        holdout: Share of them that becomes `test`, in [0, 1).
        name: Function from an item to the name that is hashed.

    Returns:
        Dict of `HOLD_OUT` to sorted lists of items.
    """
    ordered = sorted(items, key=lambda item: zlib.crc32(name(item).encode()))
    held = round(holdout * len(ordered))
    if holdout and len(ordered) > 1:
        held = max(1, held)
    parts = sorted(ordered[held:]), sorted(ordered[:held])
    return dict(zip(HOLD_OUT, parts, strict=True))


def nothing_held_out(holdout, count, dataset):
    """Makes the error of a split that `hold_out` gave no images.

    Args:
        holdout: As of `hold_out`.
        count: Images of all splits.
        dataset: What the dataset is called.

    Returns:
        A `ValueError`.
    """
    return ValueError(
        "`data.holdout` must be above 0, of two images at least, where a "
        "dataset has no splits: `train` and `test` are to have one each. "
        f"Received: holdout={holdout}, of {count} images in {dataset}"
    )


class Files:
    """A source of examples in files, for `Task.open_source`.

    A subclass has `files`, a dict of split to a sequence with an item per
    example, and says in `columns` what an example is.
    """

    @property
    def splits(self):
        """Names of the splits."""
        return tuple(self.files)

    def size(self, split):
        """Number of examples of a split."""
        return len(self.files[split])

    def columns(self, split):
        """Says what examples hold before a file is read.

        Args:
            split: Name of the split.

        Returns:
            Dict of arrays or lists, one value per example: `"name"`, the path
            of the image, and what else `load` needs.
        """
        raise NotImplementedError

    def listing(self, split):
        """Lists the rows of `columns`; see `Task.open_source`."""
        columns = [np.asarray(c).tolist() for c in self.columns(split).values()]
        return list(zip(*columns, strict=True))

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """Rows of `columns`, shuffled as a whole; see `Task.open_source`."""
        examples = tf.data.Dataset.from_tensor_slices(self.columns(split))
        if seed is not None:
            examples = examples.shuffle(
                self.size(split), seed, reshuffle_each_iteration=False
            )
        return examples.shard(*shard)
