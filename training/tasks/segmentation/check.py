"""Looks at a dataset before a run: what it holds, what cannot be used."""

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode
from gcvit_keras.segmentation.losses import IGNORED
from gcvit_training.errors import reason
from gcvit_training.tasks.look import read_all
from gcvit_training.tasks.pages import SHOWN, class_table, listed
from gcvit_training.tasks.segmentation.label_map import decode_numbers
from gcvit_training.tasks.sources import list_problems


def check_split(source, split, report=print):
    """Reads every image and label map once; see `ImageTask.check_split`.

    Args:
        source: As `sources.open_source` returns.
        split: Name of the split.
        report: Called with a line of text now and then.

    Returns:
        Dict with `"ignored_pixels"`, too, their number; and `"ignored"`:
        `{"file", "reason"}` of those that are no examples.
    """
    pixels = np.zeros(256, int)

    def count(example, seen, is_read):
        if not is_read:
            return _why_broken(source, example)
        histogram = seen[1].numpy()
        pixels[:] += histogram
        strange = np.flatnonzero((histogram > 0) & (source.table < 0))
        if len(strange):
            return f"numbers of no class: {strange[:SHOWN].tolist()}"
        return None

    total = source.size(split)
    read = read_all(
        source.examples(split),
        lambda example: _seen(source, example),
        count,
        lambda i: report(f"{split}: {i} of {total} images read"),
        every=1000,
    )
    by_class = np.bincount(
        np.maximum(source.table, 0),
        np.where(source.table < 0, 0, pixels),
        minlength=256,
    )
    return {
        "images": total,
        "classes": {n: int(by_class[k]) for k, n in enumerate(source.names)},
        "ignored_pixels": int(by_class[IGNORED]),
        **read,
        "ignored": list_problems(source.problems.get(split, [])),
    }


def _seen(source, example):
    """Size of an image, and how often each number is in its label map."""
    content = source.load(example)
    image = decode(content["image"], trusted=True)
    numbers = tf.cast(decode_numbers(content["labels"]), tf.int32)
    same = tf.debugging.assert_equal(
        tf.shape(image)[:2], tf.shape(numbers), "not the size of its image"
    )
    with tf.control_dependencies([same]):
        size = tf.shape(numbers)
    counts = tf.math.bincount(numbers, minlength=256, maxlength=256)
    return size, tf.ensure_shape(counts, (256,))


def _why_broken(source, example):
    """Why reading an image and its label map fails."""
    try:
        content = source.load(example)
        image = decode(content["image"], trusted=True)
    except tf.errors.OpError as error:
        return f"the image: {reason(error)}"
    try:
        numbers = decode_numbers(content["labels"])
    except tf.errors.OpError as error:
        return f"the label map: {reason(error)}"
    height, width = numbers.shape
    return (
        f"the label map is of {width} x {height} pixels, the image of "
        f"{image.shape[1]} x {image.shape[0]}"
    )


def split_page(split, facts):
    """Shows what `check_split` found, but for sizes and broken images."""
    total = sum(facts["classes"].values()) or 1
    ignored = facts["ignored_pixels"]
    return [
        f"**{split}: {facts['images']} images**",
        "",
        *class_table(
            "share of the pixels",
            facts["classes"],
            lambda pixels: f"{pixels / total:.2%}",
        ),
        f"- {ignored / (total + ignored):.2%} are of no class",
        *listed("are no examples", facts["ignored"], "file"),
    ]
