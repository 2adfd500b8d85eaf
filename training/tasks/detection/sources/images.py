"""Images with objects, read in place: one index in memory for all formats."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from gcvit_keras.detection.results import resized_size
from gcvit_training.tasks.detection.plans import plan_evaluation, plan_training


@dataclasses.dataclass(frozen=True)
class Item:
    """One image and its objects.

    Attributes:
        path: Path of the image file.
        id: Of the image in its dataset; an integer.
        size: Height and width of the upright image, in pixels.
        boxes: Float64 array `(n, 4)`: x1, y1, x2, y2 in pixels.
        classes: Int32 array `(n,)`.
        is_crowd: Boolean array `(n,)`: regions of many objects, which are not
            learned, and in which detections are no errors.
        areas: Float64 array `(n,)`, in pixels: whether an object is small,
            medium or large in COCO's measures follows from it.
        masks: List of n dicts of run lengths (`masks.to_rle`), or `None`.
    """

    path: str
    id: int
    size: tuple
    boxes: Any
    classes: Any
    is_crowd: Any
    areas: Any
    masks: Any = None


@dataclasses.dataclass
class Images:
    """A dataset of images with objects.

    Attributes:
        names: Names of the classes.
        categories: Number of each class in the dataset's own files.
        items: For each split a list of `Item`.
        problems: For each split a list of `Problem`.
        has_masks: Whether objects have masks, not boxes only.
        annotations: For each split how many annotations were read.
        settings: The run's configuration, which the order of training and the
            sizes of its images follow from.
        data_dir: Folder of datasets that had to be prepared, or `None`.
        thorough: Whether self-crossing polygons are looked for, which takes
            time quadratic in a polygon's points.
    """

    names: tuple
    categories: tuple
    items: dict = dataclasses.field(default_factory=dict)
    problems: dict = dataclasses.field(default_factory=dict)
    has_masks: bool = False
    annotations: dict = dataclasses.field(default_factory=dict)
    settings: Any = None
    data_dir: Any = None
    thorough: bool = False

    def __post_init__(self):
        """Numbers the images of all splits."""
        self.all_items, self.first = [], {}
        for split, items in self.items.items():
            self.first[split] = len(self.all_items)
            self.all_items += items

    def size(self, split):
        """Number of images of a split."""
        return len(self.items[split])

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        """Makes a dataset of images and what is to be done to them.

        With a seed it is one epoch of training: batches hold images of one
        orientation, wide or tall, as far as they go, in an order of the seed.
        Those of evaluation are ordered by orientation and size.

        Args:
            split: Name of the split.
            seed: Integer tensor, of an epoch, or `None` for evaluation.
            buffer: Not used: all images are shuffled.
            shard: How many parts there are, and which of them this is.

        Returns:
            `tf.data.Dataset` of dicts: `"name"`, a path; `"index"`, of
            `all_items`; `"original"`, the sides that the image should have;
            and a row of a `Plan`. In training also `"bucket"`,
            the sides that the images of its batch are padded to.
        """
        items = self.items[split]
        sizes = np.int32([item.size for item in items]).reshape(-1, 2)
        rows = {
            "name": tf.constant([item.path for item in items], tf.string),
            "original": tf.constant(sizes),
            "index": tf.constant(
                np.arange(len(items), dtype="int32") + self.first[split]
            ),
        }
        if seed is None:
            order = evaluation_order(sizes, self.settings)
            rows = {k: tf.gather(v, order) for k, v in rows.items()}
            plan = plan_evaluation(sizes[order], self.settings.data)
            rows |= plan._asdict()
        else:
            seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), 1]), 2)
            batch = self.settings.data.batch_size
            order = one_orientation(sizes, batch, seeds[0])
            rows = {k: tf.gather(v, order) for k, v in rows.items()}
            plan = plan_training(
                tf.gather(sizes, order), seeds[1], self.settings.augment
            )
            rows |= plan._asdict()
            rows["bucket"] = _buckets_of_batches(
                plan.size, batch, self.settings.buckets
            )
        return tf.data.Dataset.from_tensor_slices(rows).shard(*shard)

    def load(self, example):
        """Reads the file of an image, in a graph."""
        encoded = tf.io.read_file(example["name"])
        return {
            "encoded": encoded,
            **{k: v for k, v in example.items() if k != "name"},
        }


def one_orientation(sizes, batch, seed):
    """Orders images so that batches are all wide or all tall.

    Args:
        sizes: Integer array `(n, 2)` of heights and widths.
        batch: Images per batch, an integer.
        seed: Integer tensor `(2,)`.

    Returns:
        Int32 tensor `(n,)` of indices. Only the last two batches may be mixed;
        which images are in them, and in what is no whole batch, is drawn.
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    wide = np.flatnonzero(sizes[:, 1] >= sizes[:, 0])
    tall = np.flatnonzero(sizes[:, 1] < sizes[:, 0])
    whole, rest = [], []
    for members, draw in zip((wide, tall), seeds, strict=False):
        mixed = _shuffled(tf.constant(np.int32(members)), draw)
        count = len(members) // batch * batch
        whole.append(mixed[:count])
        rest.append(mixed[count:])
    batches = tf.reshape(tf.concat(whole, 0), (-1, batch))
    batches = _shuffled(batches, seeds[2])
    rest = _shuffled(tf.concat(rest, 0), seeds[3])
    return tf.concat([tf.reshape(batches, [-1]), rest], 0)


def evaluation_order(sizes, settings):
    """Orders images so that few batches are padded to more than they need.

    Tall images are between wide ones, the first of which is small: where the
    last batch is filled up with copies of the first image, these do not make
    it larger, and it gives what it does without them.

    Args:
        sizes: Integer array `(n, 2)` of heights and widths.
        settings: A `DetectionConfig`.

    Returns:
        Integer array `(n,)` of indices.
    """
    data, buckets = settings.data, np.array(settings.buckets)
    resized = [
        resized_size(*size, data.short_side, data.long_side)
        for size in sizes.tolist()
    ]
    resized = np.reshape(resized, (-1, 1, 2))
    smallest = (buckets >= resized).all(-1).argmax(1)
    is_tall = sizes[:, 1] < sizes[:, 0]
    order = np.lexsort((smallest, is_tall))
    wide, tall = order[~is_tall[order]], order[is_tall[order]]
    return np.concatenate([wide[:1], tall, wide[1:]])


def _shuffled(rows, seed):
    count = rows.shape[0] or 0
    draws = tf.random.stateless_uniform((count,), seed)
    return tf.gather(rows, tf.argsort(draws, stable=True))


def _buckets_of_batches(sizes, batch, buckets):
    """Sides that each image's whole batch is padded to, `(n, 2)`."""
    count = sizes.shape[0]
    places = np.arange(count) // batch
    needs = tf.math.segment_max(sizes, tf.constant(np.int32(places)))
    return tf.gather(choose_bucket(needs, buckets), places)


def choose_bucket(sides, buckets):
    """Chooses the smallest bucket that holds an image.

    Args:
        sides: Int32 tensor `(..., 2)`: height and width.
        buckets: Integers `(k, 2)` by size; the last one holds every image.

    Returns:
        Int32 tensor `(..., 2)`.
    """
    buckets = tf.constant(np.int32(buckets))
    fits = tf.reduce_all(buckets >= sides[..., None, :], axis=-1)
    return tf.gather(buckets, tf.argmax(tf.cast(fits, tf.int32), axis=-1))
