"""Looks at a dataset before a run: reads every example once."""

import tensorflow as tf

from gcvit_keras.images.graph import guarded
from gcvit_training.errors import reason


def read_all(examples, look, count, report=print, every=10_000):
    """Reads every example once, as a run does.

    Args:
        examples: `tf.data.Dataset` of examples, dicts with a `"name"`.
        look: Function of an example, in a graph, that returns a tuple of
            tensors, the first one the height and width of its image. An
            operation fails where the example cannot be read. Their shapes are
            static.
        count: Function of an example, its tensors, zeros where it was not
            read, and whether it was: returns why a run leaves it out, or
            `None`.
        report: Called with the number of examples so far, now and then.
        every: Examples from call to call.

    Returns:
        Dict of `"least_size"` and `"largest_size"`: height and width of the
        images with fewest and with most pixels, or `None`; and `"broken"`:
        `{"image", "reason"}` of the examples that a run leaves out.
    """

    def guarded_look(example):
        return example, *guarded(lambda: (look(example), True))

    sizes, broken = [], []
    rows = examples.map(
        guarded_look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    for i, (example, seen, is_read) in enumerate(rows):
        if i and i % every == 0:
            report(i)
        why = count(example, seen, bool(is_read))
        if why:
            name = example["name"].numpy().decode(errors="replace")
            broken.append({"image": name, "reason": why})
        if is_read:
            sizes.append(tuple(seen[0].numpy().tolist()))
    return {**extremes(sizes), "broken": broken}


def extremes(sizes):
    """Finds the images with fewest and with most pixels.

    Args:
        sizes: Iterable of heights and widths.

    Returns:
        Dict of `"least_size"` and `"largest_size"`, `None` where there are no
        images.
    """
    sizes = sorted(sizes, key=lambda size: size[0] * size[1]) or [None]
    return {"least_size": sizes[0], "largest_size": sizes[-1]}


def why_broken(read):
    """Says why an image cannot be read.

    Args:
        read: Function that reads it again.

    Returns:
        A few words.
    """
    try:
        read()
    except tf.errors.OpError as error:
        return reason(error)
    return "not read"
