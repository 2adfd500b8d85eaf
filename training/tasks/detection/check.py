"""Looks at a dataset before a run: what it holds, what cannot be used."""

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded
from gcvit_keras.images.headers import find_orientation
from gcvit_training.errors import reason
from gcvit_training.tasks.detection.sources import count_problems
from gcvit_training.tasks.pages import class_table, listed, size_lines

SMALL, LARGE = 32**2, 96**2
"""Areas in pixels between small, medium and large objects, as COCO's."""


def check_split(source, split, report=print):
    """Reads every image of a split once, as a run reads it.

    Args:
        source: `Images`, opened with `thorough`.
        split: Name of the split.
        report: Called with a line of text now and then.

    Returns:
        Dict of `"images"`; `"annotations"`, all that there are, and
        `"objects"`, those that can be used; `"classes"`: objects of each;
        `"crowds"`; `"empty"`: images without objects; `"small"`, `"medium"`,
        `"large"`: objects by area; `"least_size"` and `"largest_size"`: height
        and width of the images with fewest and with most pixels; `"rotated"`;
        `"broken"`: `{"image", "reason"}` of those that cannot be read; and
        `"problems"`: see `count_problems`.
    """
    items = source.items[split]
    broken, rotated = _read_all(source, split, report)
    classes = np.concatenate([i.classes[~i.is_crowd] for i in items] or [[]])
    areas = np.concatenate([i.areas[~i.is_crowd] for i in items] or [[]])
    sizes = sorted((i.size for i in items), key=lambda s: s[0] * s[1])
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
        "least_size": sizes[0] if sizes else None,
        "largest_size": sizes[-1] if sizes else None,
        "rotated": rotated,
        "broken": broken,
        "problems": count_problems(source.problems[split]),
    }


def _read_all(source, split, report):
    """Images that cannot be read, and how many EXIF turns."""

    def seen(example):
        encoded = tf.io.read_file(example["name"])
        return _upright_size(encoded), find_orientation(encoded), True

    def look(example):
        nothing = np.int32([0, 0]), np.int64(1), False
        return example, guarded(lambda: seen(example), lambda: nothing)

    items = source.items[split]
    paths = {"name": tf.constant([item.path for item in items], tf.string)}
    examples = tf.data.Dataset.from_tensor_slices(paths).map(
        look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    broken, rotated = [], 0
    for i, (item, (_, found)) in enumerate(zip(items, examples, strict=True)):
        size, orientation, readable = found
        if i and i % 10_000 == 0:
            report(f"{split}: {i} of {len(items)} images read")
        if not readable:
            why = _why_broken(item.path)
        elif tuple(size.numpy().tolist()) != item.size:
            height, width = size.numpy().tolist()
            why = (
                f"{width} x {height} pixels, annotated as "
                f"{item.size[1]} x {item.size[0]}"
            )
        else:
            rotated += int(orientation) != 1
            continue
        broken.append({"image": item.path, "reason": why})
    return broken, rotated


def _upright_size(encoded):
    return tf.shape(decode(encoded, trusted=True))[:2]


def _why_broken(path):
    try:
        _upright_size(tf.io.read_file(path))
    except tf.errors.OpError as error:
        return reason(error)
    return "not read"


def check_page(found):
    """Shows what `check_split` found.

    Args:
        found: Dict of split to what `check_split` returns.

    Returns:
        List of lines in Markdown.
    """
    lines = []
    for split, facts in found.items():
        lines += [
            f"**{split}: {facts['images']} images, {facts['objects']} "
            "objects**",
            "",
        ]
        lines += class_table("objects", facts["classes"])
        lines += [
            f"- {facts['small']} small, {facts['medium']} medium and "
            f"{facts['large']} large objects; {facts['crowds']} crowds",
            f"- {facts['empty']} images without objects",
        ]
        lines += size_lines(facts)
        for problem, row in facts["problems"].items():
            what = "used" if row["used"] else "left out"
            lines.append(
                f"- {row['count']} {what}: {problem}, such as {row['first']}"
            )
        lines += listed("images cannot be read", facts["broken"])
        lines.append("")
    return lines
