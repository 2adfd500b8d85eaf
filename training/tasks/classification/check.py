"""Looks at a dataset before a run: what it holds, what a run makes of it."""

import collections
import re

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded, resize_and_crop
from gcvit_keras.images.headers import find_orientation
from gcvit_training.data import training_batches
from gcvit_training.tasks import find_task
from gcvit_training.tasks.classification.sources import describe_ignored

UNREADABLE = np.int32([0, 0]), np.int64(1), np.int64(-1)
"""Size, orientation and label of an image that cannot be read."""


def check_data(source, splits, reader, report=print):
    """Reads every image of a dataset once, as a run reads it.

    Args:
        source: As `sources.open_source` returns.
        splits: Names of the splits to read.
        reader: The run's `gcvit_keras.ImageReader`.
        report: Called with a line of text now and then.

    Returns:
        Dict of split to `{"images", "classes", "least_size", "largest_size",
        "rotated", "broken", "ignored"}`: how many images there are, and of
        every class; height and width of the images with fewest and with most
        pixels; how many an EXIF orientation turns; `{"image", "reason"}` of
        those that cannot be read; and `{"file", "reason"}` of those that are
        no examples.
    """
    for line in describe_ignored(source):
        report(line)
    return {
        split: _check_split(source, split, reader, report) for split in splits
    }


def _check_split(source, split, reader, report):
    def look(example):
        return example, *guarded(
            lambda: _seen(source, example, reader), lambda: UNREADABLE
        )

    counts, sizes, rotated, broken = collections.Counter(), [], 0, []
    examples = source.examples(split).map(
        look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    total = source.size(split)
    for i, (example, size, orientation, label) in enumerate(examples):
        if i and i % 10_000 == 0:
            report(f"{split}: {i} of {total} images read")
        if label < 0:
            name = example["name"].numpy().decode(errors="replace")
            label, reason = _why_broken(source, example, reader)
            broken.append({"image": name, "reason": reason})
        else:
            rotated += int(orientation) != 1
            sizes.append(tuple(size.numpy().tolist()))
        if label is not None:
            counts[source.names[label]] += 1
    sizes.sort(key=lambda size: size[0] * size[1])
    ignored = getattr(source, "ignored", {}).get(split, [])
    return {
        "images": total,
        "classes": {name: counts[name] for name in source.names},
        "least_size": sizes[0] if sizes else None,
        "largest_size": sizes[-1] if sizes else None,
        "rotated": rotated,
        "broken": broken,
        "ignored": [{"file": path, "reason": why} for path, why in ignored],
    }


def _seen(source, example, reader):
    """Size, orientation and label of an image that a run can read."""
    encoded, label = source.load(example)
    image = decode(encoded, reader.max_pixels, trusted=True)
    with tf.control_dependencies([resize_and_crop(image, reader)]):
        size = tf.shape(image)[:2]
    return size, find_orientation(encoded), label


def _why_broken(source, example, reader):
    """The label, `None` where it is not known, and why reading fails."""
    label = example.get("label")
    try:
        encoded, label = source.load(example)
        reader.read_in_graph(encoded, trusted=True)
        reason = "not read"
    except tf.errors.OpError as error:
        reason = error.message.split("\n")[0]
        # TensorFlow's names of what failed, and the path once more.
        reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", reason)
        reason = reason.split("; ")[-1].strip()[:80]
    return label if label is None else int(label), reason


def preview(source, config, count=32):
    """Makes the first training images as a run sees them.

    Args:
        source: As `sources.open_source` returns.
        config: A `RunConfig`.
        count: Images, at most.

    Returns:
        float32 images `(n, size, size, 3)`, pixels in [0, 255], and for each
        the names of its classes, with their shares where they are mixed.
    """
    data = config.data
    batch = min(data.batch_size, source.size(data.train_split))
    data = data.model_copy(update={"batch_size": batch})
    config = config.model_copy(update={"data": data})
    task = find_task(config.task)(config, source)
    images, labels = next(iter(training_batches(task)))
    titles = []
    for label in labels[:count].numpy():
        parts = [k for k in label.argsort()[::-1] if label[k] > 0]
        share = len(parts) > 1
        titles.append(
            " + ".join(
                f"{label[k]:.0%} {source.names[k]}"
                if share
                else source.names[k]
                for k in parts
            )
        )
    return images[:count].numpy(), titles
