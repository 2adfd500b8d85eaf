"""Looks at a dataset before a run: what it holds, what cannot be read."""

import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded, resize_and_crop
from gcvit_keras.images.headers import find_orientation
from gcvit_training.tasks.look import read_all, why_broken
from gcvit_training.tasks.sources import list_problems


def check_split(source, split, reader, tally, report=print):
    """Reads every image of a split once; see `ImageTask.check_split`.

    Args:
        source: As `sources.open_source` returns.
        split: Name of the split.
        reader: The run's `gcvit_keras.ImageReader`.
        tally: Function from a list of targets to counts by name.
        report: Called with a line of text now and then.

    Returns:
        Dict with `"rotated"`, too: how many an EXIF orientation turns; and
        `"ignored"`: `{"file", "reason"}` of those that are no examples.
    """
    targets, orientations = [], []

    def with_target(example):
        target, is_known = _target(source, example)
        return {**example, "target": target, "is_known": is_known}

    def count(example, seen, is_read):
        if example["is_known"]:
            targets.append(example["target"].numpy())
        if is_read:
            orientations.append(int(seen[1]))
            return None
        return why_broken(
            lambda: reader.read_in_graph(source.load(example)[0], trusted=True)
        )

    total = source.size(split)
    read = read_all(
        source.examples(split).map(with_target, tf.data.AUTOTUNE),
        lambda example: _seen(source, example, reader),
        count,
        lambda i: report(f"{split}: {i} of {total} images read"),
    )
    return {
        "images": total,
        "classes": tally(targets),
        **read,
        "rotated": sum(orientation != 1 for orientation in orientations),
        "ignored": list_problems(source.problems.get(split, [])),
    }


def _seen(source, example, reader):
    """Size and orientation of an image that a run can read."""
    encoded, _ = source.load(example)
    image = decode(encoded, reader.max_pixels, trusted=True)
    with tf.control_dependencies([resize_and_crop(image, reader)]):
        size = tf.shape(image)[:2]
    return size, find_orientation(encoded)


def _target(source, example):
    """The target of an example, and whether it is known."""
    for field in ("label", "values"):
        if field in example:
            return example[field], True
    return guarded(lambda: (source.load(example)[1], True))
