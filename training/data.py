"""TFDS datasets as `tf.data` pipelines of RGB images."""

import tensorflow as tf
import tensorflow_datasets as tfds

from training.augment import augmentation
from training.digits import Digits


def prepare(dataset, data_dir):
    """Writes a dataset to disk where it is not there yet.

    Args:
        dataset: `"digits"`, or a name that TFDS knows.
        data_dir: Folder of prepared datasets; made where missing.

    Returns:
        The `tfds.core.DatasetBuilder`, prepared.

    Raises:
        ValueError: If there is no such dataset.
    """
    if dataset == "digits":
        builder = Digits(data_dir=str(data_dir))
    else:
        try:
            builder = tfds.builder(dataset, data_dir=str(data_dir))
        except tfds.core.DatasetNotFoundError:
            raise ValueError(
                "`data.dataset` must be digits or a name that TFDS knows. "
                f"Received: dataset={dataset!r}"
            ) from None
    builder.download_and_prepare()
    return builder


def training_batches(builder, config):
    """Shuffled, augmented batches for one epoch of `model.fit`.

    Args:
        builder: Prepared builder of images and integer labels.
        config: A `RunConfig`.

    Returns:
        `tf.data.Dataset` of float32 images `(batch, size, size, 3)`, pixels
        in [0, 255], and one-hot labels `(batch, classes)`. A last, smaller
        batch is dropped: replicas share every batch evenly.
    """
    classes = builder.info.features["label"].num_classes
    data = builder.as_dataset(
        split=config.data.train_split,
        shuffle_files=True,
        as_supervised=True,
        read_config=tfds.ReadConfig(shuffle_seed=config.seed),
    )
    data = data.cache().shuffle(
        min(10_000, builder.info.splits[config.data.train_split].num_examples),
        seed=config.seed,
    )
    data = data.map(
        lambda image, label: (
            to_rgb(image, config.data.image_size),
            tf.one_hot(label, classes),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    data = data.batch(config.data.batch_size, drop_remainder=True)
    augment = augmentation(config)
    data = data.map(
        lambda images, labels: (augment(images, training=True), labels),
        # One at a time and in order: with parallel calls the augmentation's
        # seeds would be drawn in any order.
        num_parallel_calls=1,
        deterministic=True,
    )
    return data.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(builder, split, image_size, batch_size):
    """Batches of a split, in order and not augmented.

    Args:
        builder: Prepared builder of images and integer labels.
        split: Name of the split, such as `"test"`.
        image_size: Side of the images in pixels.
        batch_size: Images a batch; the last one may be smaller.

    Returns:
        `tf.data.Dataset` of float32 images `(batch, size, size, 3)`, pixels
        in [0, 255], and one-hot labels `(batch, classes)`.
    """
    classes = builder.info.features["label"].num_classes
    data = builder.as_dataset(split=split, as_supervised=True)
    data = data.map(
        lambda image, label: (
            to_rgb(image, image_size),
            tf.one_hot(label, classes),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return data.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def to_rgb(image, size):
    """Resizes a uint8 image, grey or RGB, to float32 `(size, size, 3)`.

    A square image becomes what `gcvit_keras.load_image` makes of it with
    Pillow, to within a grey level: columns, then rows, each rounded and
    clipped to pixel values. Others are squashed.
    """
    height = tf.shape(image)[0]
    for shape in ((height, size), (size, size)):
        image = tf.image.resize(image, shape, "bicubic", antialias=True)
        image = tf.clip_by_value(tf.round(image), 0, 255)
    if image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    return tf.ensure_shape(image, (size, size, 3))
