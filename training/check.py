"""Looks at a dataset before a run: what it holds, what a run makes of it."""

import collections
import io

import tensorflow as tf
from PIL import Image

from gcvit_training.data import training_batches


def check_data(source, splits, report=print):
    """Reads every image of a dataset once.

    Args:
        source: As `gcvit_training.sources.open_source` returns.
        splits: Names of the splits to read.
        report: Called with a line of text now and then.

    Returns:
        Dict of split to `{"images", "classes", "least_size", "largest_size",
        "rotated", "broken"}`: how many images there are, and of every class;
        height and width of the images with fewest and with most pixels; how
        many have an EXIF rotation, which training does not apply; and
        `{"image", "reason"}` of those that cannot be decoded.
    """
    return {split: _check_split(source, split, report) for split in splits}


def _check_split(source, split, report):
    def decode(example):
        encoded, label = source.load(example)
        one = tf.data.Dataset.from_tensors(encoded)
        shape = (
            one.map(
                lambda e: tf.shape(
                    tf.io.decode_image(e, 3, expand_animations=False)
                )
            )
            .ignore_errors()
            .concatenate(one.map(lambda _: tf.constant([0, 0, 0])))
            .take(1)
            .get_single_element()
        )
        return example["name"], encoded, label, shape

    counts, sizes = collections.Counter(), []
    rotated, broken = 0, []
    examples = source.examples(split).map(
        decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    total = source.size(split)
    for i, (name, encoded, label, shape) in enumerate(
        examples.as_numpy_iterator()
    ):
        if i and i % 10_000 == 0:
            report(f"{split}: {i} of {total} images read")
        counts[source.names[label]] += 1
        reason, orientation = _look(encoded)
        if not shape[0]:
            broken.append(
                {
                    "image": name.decode(errors="replace"),
                    "reason": reason or "not decoded by TensorFlow",
                }
            )
            continue
        rotated += orientation != 1
        sizes.append((int(shape[0]), int(shape[1])))
    sizes.sort(key=lambda size: size[0] * size[1])
    return {
        "images": total,
        "classes": {name: counts[name] for name in source.names},
        "least_size": sizes[0] if sizes else None,
        "largest_size": sizes[-1] if sizes else None,
        "rotated": rotated,
        "broken": broken,
    }


def _look(encoded):
    """Why Pillow does not read an image, and its EXIF orientation."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            orientation = image.getexif().get(0x0112, 1)
            return None, orientation
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = str(error).split("\n")[0]
        return reason.replace(f"{io.BytesIO}", "")[:80], 1


def preview(source, config, count=32):
    """The first training images as a run sees them.

    Args:
        source: As `gcvit_training.sources.open_source` returns.
        config: A `RunConfig`.
        count: Images, at most.

    Returns:
        float32 images `(n, size, size, 3)`, pixels in [0, 255], and for each
        the names of its classes, with their shares where they are mixed.
    """
    images, labels = next(iter(training_batches(source, config)))
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
