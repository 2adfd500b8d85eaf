"""Looks at a dataset before a run: what it holds, what cannot be used."""

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode
from gcvit_keras.images.headers import find_orientation
from gcvit_training.tasks.look import extremes, read_all, why_broken
from gcvit_training.tasks.pages import class_table
from gcvit_training.tasks.sources import count_problems

SMALL, LARGE = 32**2, 96**2
"""Areas in pixels between small, medium and large objects, as COCO's."""


def check_split(source, split, report=print):
    """Reads every image of a split once; see `ImageTask.check_split`.

    Args:
        source: `Images`, opened with `thorough`.
        split: Name of the split.
        report: Called with a line of text now and then.

    Returns:
        Dict with these, too: `"annotations"`, all that there are, and
        `"objects"`, those that can be used; `"crowds"`; `"empty"`: images
        without objects; `"small"`, `"medium"`, `"large"`: objects by area;
        `"rotated"`: images that EXIF turns; and `"problems"`: see
        `count_problems`.
    """
    items, problems = source.items[split], source.problems[split]
    broken, rotated = _read(items, split, report)
    classes = np.concatenate([i.classes[~i.is_crowd] for i in items] or [[]])
    areas = np.concatenate([i.areas[~i.is_crowd] for i in items] or [[]])
    counts = np.bincount(classes.astype(int), minlength=len(source.names))
    return {
        "images": len(items),
        "annotations": source.annotations[split],
        "objects": len(classes),
        "classes": dict(zip(source.names, counts.tolist(), strict=True)),
        "crowds": int(sum(i.is_crowd.sum() for i in items)),
        "empty": sum(bool(i.is_crowd.all()) for i in items),
        "small": int((areas < SMALL).sum()),
        "medium": int(((areas >= SMALL) & (areas < LARGE)).sum()),
        "large": int((areas >= LARGE).sum()),
        **extremes(item.size for item in items),
        "rotated": rotated,
        "broken": broken,
        "problems": dict(sorted(count_problems(problems).items())),
    }


def _read(items, split, report):
    """Images that cannot be read, and how many EXIF turns."""
    rotated = []

    def look(example):
        encoded = tf.io.read_file(example["name"])
        return _upright_size(encoded), find_orientation(encoded)

    def count(example, seen, is_read):
        if not is_read:
            path = example["name"]
            return why_broken(lambda: _upright_size(tf.io.read_file(path)))
        height, width = seen[0].numpy().tolist()
        if [height, width] != example["size"].numpy().tolist():
            h, w = example["size"].numpy()
            return f"{width} x {height} pixels, annotated as {w} x {h}"
        rotated.append(int(seen[1]) != 1)
        return None

    read = read_all(
        tf.data.Dataset.from_tensor_slices(
            {
                "name": [item.path for item in items],
                "size": [item.size for item in items],
            }
        ),
        look,
        count,
        lambda i: report(f"{split}: {i} of {len(items)} images read"),
    )
    return read["broken"], sum(rotated)


def _upright_size(encoded):
    return tf.shape(decode(encoded, trusted=True))[:2]


def split_page(split, facts):
    """Shows what `check_split` found, but for sizes and broken images."""
    lines = [
        f"**{split}: {facts['images']} images, {facts['objects']} objects**",
        "",
        *class_table("objects", facts["classes"]),
        f"- {facts['small']} small, {facts['medium']} medium and "
        f"{facts['large']} large objects; {facts['crowds']} crowds",
        f"- {facts['empty']} images without objects",
    ]
    for problem, row in facts["problems"].items():
        what = "used" if row["used"] else "left out"
        lines.append(
            f"- {row['count']} {what}: {problem}, such as {row['first']}"
        )
    return lines
