"""Looks at a dataset before a run: what it holds, what a run makes of it."""

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded
from gcvit_keras.segmentation.colours import overlay
from gcvit_keras.segmentation.losses import IGNORED
from gcvit_training.data import training_batches
from gcvit_training.errors import reason
from gcvit_training.tasks.pages import SHOWN, class_table, listed, size_lines
from gcvit_training.tasks.segmentation.label_map import decode_numbers


def check_split(source, split, report=print):
    """Reads every image and label map of a split once.

    Args:
        source: As `sources.open_source` returns.
        split: Name of the split.
        report: Called with a line of text now and then.

    Returns:
        Dict of `"images"`: how many there are; `"classes"`: pixels of each;
        `"ignored_pixels"`; `"least_size"`, `"largest_size"`: height and width
        of the images with fewest and with most pixels; `"broken"`:
        `{"image", "reason"}` of those that a run leaves out; and `"ignored"`:
        `{"file", "reason"}` of those that are no examples.
    """
    none = tf.zeros((2,), tf.int32), tf.zeros((256,), tf.int32), False

    def look(example):
        return example, guarded(lambda: _seen(source, example), lambda: none)

    total, counts, sizes, broken = (
        source.size(split),
        np.zeros(256, int),
        [],
        [],
    )
    examples = source.examples(split).map(
        look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    for i, (example, (size, histogram, readable)) in enumerate(examples):
        if i and i % 1000 == 0:
            report(f"{split}: {i} of {total} images read")
        why = None
        if not readable:
            why = _why_broken(source, example)
        else:
            histogram = histogram.numpy()
            strange = np.flatnonzero((histogram > 0) & (source.table < 0))
            if len(strange):
                why = f"numbers of no class: {strange[:SHOWN].tolist()}"
        if why:
            name = example["name"].numpy().decode(errors="replace")
            broken.append({"image": name, "reason": why})
        if readable:
            sizes.append(tuple(size.numpy().tolist()))
            counts += histogram
    sizes.sort(key=lambda size: size[0] * size[1])
    by_class = np.bincount(
        np.maximum(source.table, 0),
        np.where(source.table < 0, 0, counts),
        minlength=256,
    )
    return {
        "images": total,
        "classes": {n: int(by_class[k]) for k, n in enumerate(source.names)},
        "ignored_pixels": int(by_class[IGNORED]),
        "least_size": sizes[0] if sizes else None,
        "largest_size": sizes[-1] if sizes else None,
        "broken": broken,
        "ignored": [
            {"file": p.file, "reason": p.reason}
            for p in source.problems.get(split, [])
        ],
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
    return size, tf.math.bincount(numbers, minlength=256, maxlength=256), True


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


def check_page(found):
    """Shows what `check_split` found.

    Args:
        found: Dict of split to what `check_split` returns.

    Returns:
        List of lines in Markdown.
    """
    lines = []
    for split, facts in found.items():
        lines += [f"**{split}: {facts['images']} images**", ""]
        total = sum(facts["classes"].values()) or 1
        lines += class_table(
            "share of the pixels",
            facts["classes"],
            lambda pixels, total=total: f"{pixels / total:.2%}",
        )
        ignored = facts["ignored_pixels"]
        lines.append(f"- {ignored / (total + ignored):.2%} are of no class")
        lines += size_lines(facts)
        lines += listed("cannot be used", facts["broken"])
        lines += listed("are no examples", facts["ignored"], "file")
        lines.append("")
    return lines


def preview(task, count):
    """Makes the first training crops as a run sees them, in colours.

    Args:
        task: The run's `Segmentation`.
        count: Crops, at most.

    Returns:
        List of uint8 arrays `(crop, crop, 3)`, and for each the names of its
        classes.
    """
    data = task.config.data
    batch = min(data.batch_size, task.source.size(data.train_split))
    data = data.model_copy(update={"batch_size": batch})
    config = task.config.model_copy(update={"data": data})
    batches = training_batches(type(task)(config, task.source))
    images, labels = next(iter(batches))
    pictures, titles = [], []
    for image, classes in zip(
        images[:count].numpy(), labels[:count].numpy(), strict=True
    ):
        pictures.append(overlay(image, classes))
        there = [k for k in np.unique(classes) if k != IGNORED]
        there.sort(key=lambda k: -(classes == k).sum())
        titles.append(", ".join(task.names[k] for k in there[:3]))
    return pictures, titles
