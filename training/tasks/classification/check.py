"""Looks at a dataset before a run: what it holds, what a run makes of it."""

import numpy as np
import tensorflow as tf

from gcvit_keras.images.graph import decode, guarded, resize_and_crop
from gcvit_keras.images.headers import find_orientation
from gcvit_training.data import training_batches
from gcvit_training.errors import reason
from gcvit_training.tasks.pages import class_table, listed, size_lines

UNREADABLE = np.int32([0, 0]), np.int64(1), False
"""Size and orientation of an image that cannot be read, and that it cannot."""


def check_split(source, split, reader, tally, report=print):
    """Reads every image of a split once, as a run reads it.

    Args:
        source: As `sources.open_source` returns.
        split: Name of the split.
        reader: The run's `gcvit_keras.ImageReader`.
        tally: Function from a list of targets to counts by name.
        report: Called with a line of text now and then.

    Returns:
        Dict of `"images"`: how many there are; `"classes"`: how many of each;
        `"least_size"`, `"largest_size"`: height and width of the images with
        fewest and with most pixels; `"rotated"`: how many an EXIF orientation
        turns; `"broken"`: `{"image", "reason"}` of those that cannot be read;
        and `"ignored"`: `{"file", "reason"}` of those that are no examples.
    """

    def look(example):
        seen = guarded(
            lambda: (*_seen(source, example, reader), True),
            lambda: UNREADABLE,
        )
        return example, _target(source, example), seen

    targets, sizes, rotated, broken = [], [], 0, []
    examples = source.examples(split).map(
        look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    total = source.size(split)
    for i, (example, (target, known), seen) in enumerate(examples):
        size, orientation, readable = seen
        if i and i % 10_000 == 0:
            report(f"{split}: {i} of {total} images read")
        if readable:
            rotated += int(orientation) != 1
            sizes.append(tuple(size.numpy().tolist()))
        else:
            name = example["name"].numpy().decode(errors="replace")
            why = _why_broken(source, example, reader)
            broken.append({"image": name, "reason": why})
        if known:
            targets.append(target.numpy())
    sizes.sort(key=lambda size: size[0] * size[1])
    ignored = getattr(source, "ignored", {}).get(split, [])
    return {
        "images": total,
        "classes": tally(targets),
        "least_size": sizes[0] if sizes else None,
        "largest_size": sizes[-1] if sizes else None,
        "rotated": rotated,
        "broken": broken,
        "ignored": [{"file": path, "reason": why} for path, why in ignored],
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
    return guarded(
        lambda: (source.load(example)[1], True), lambda: (np.int64(0), False)
    )


def _why_broken(source, example, reader):
    """Why reading an image fails."""
    try:
        encoded, _ = source.load(example)
        reader.read_in_graph(encoded, trusted=True)
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
        lines += [f"**{split}: {facts['images']} images**", ""]
        lines += class_table("images", facts["classes"])
        lines += size_lines(facts)
        lines += listed("cannot be read", facts["broken"])
        lines.append("")
    return lines


def preview(task, count):
    """Makes the first training images as a run sees them.

    Args:
        task: The run's `Classification`.
        count: Images, at most.

    Returns:
        float32 images `(n, size, size, 3)`, pixels in [0, 255], and for each
        its title, which the task gives.
    """
    data = task.config.data
    batch = min(data.batch_size, task.source.size(data.train_split))
    data = data.model_copy(update={"batch_size": batch})
    config = task.config.model_copy(update={"data": data})
    batches = training_batches(type(task)(config, task.source))
    images, targets = next(iter(batches))
    titles = [task.title(target) for target in targets[:count].numpy()]
    return images[:count].numpy(), titles
