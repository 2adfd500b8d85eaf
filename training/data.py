"""From encoded images to batches: the same `tf.data` pipeline for all sources.

Order, crops and augmentation follow from the seed, the epoch and the image's
place in it, and from nothing else. So a run that was killed goes on with the
very batches that it would have had, and every number of workers sees the same
ones.
"""

import tensorflow as tf

from gcvit_keras.images.graph import decode_part, or_grey
from gcvit_training.tasks.classification.augment import (
    augment,
    mix,
    random_crop,
)


def steps_per_epoch(source, config):
    """Whole batches in the training split."""
    return source.size(config.data.train_split) // config.data.batch_size


def training_batches(
    source, config, first_step=0, context=None, broken="/dev/null"
):
    """Shuffled, augmented batches from a step on, to the last epoch's end.

    Args:
        source: As `gcvit_training.sources.open_source` returns.
        config: A `RunConfig`.
        first_step: Step of the run to begin with.
        context: A `tf.distribute.InputContext`, or `None` for one replica.
        broken: Path of a text file that gets a line for every image that
            cannot be read.

    Returns:
        `tf.data.Dataset` of float32 images `(n, size, size, 3)`, pixels in
        [0, 255], and soft labels `(n, classes)`; n is the batch of one
        replica. An image that cannot be read is replaced by another of its
        batch, so that every epoch has the same steps on every worker. What is
        left of an epoch after its last whole batch is not seen in that epoch.
    """
    data, seed = config.data, config.seed
    workers, worker, replicas = _context(context)
    batch = data.batch_size
    share, replica_batch = batch // workers, batch // replicas
    steps = steps_per_epoch(source, config)
    first_epoch, skipped = divmod(first_step, steps)
    by_file = data.shard_by == "files" and workers > 1
    cached = None
    if data.cache:
        cached = source.examples(
            data.train_split, shard=(workers, worker) if by_file else (1, 0)
        )
        cached = _cache(cached, data.cache)

    def epoch_examples(epoch):
        # Of this function's graph: shuffling depends on `order` alone.
        tf.random.set_seed(1)
        order = epoch * 7919 + seed
        if cached is not None:
            examples = cached.shuffle(
                data.shuffle_buffer, order, reshuffle_each_iteration=False
            )
        else:
            examples = source.examples(
                data.train_split,
                order,
                data.shuffle_buffer,
                (workers, worker) if by_file else (1, 0),
            )
        skip = tf.where(epoch == first_epoch, skipped, 0)
        if by_file:
            # Files differ in length: a short share begins again.
            examples = examples.repeat().take(steps * share)
            examples = examples.enumerate().map(
                lambda i, example: (
                    (i // share) * batch + worker * share + i % share,
                    example,
                )
            )
            skip = skip * share
        else:
            examples = examples.take(steps * batch).enumerate()
            skip = skip * batch
        return examples.skip(tf.cast(skip, tf.int64)).map(
            lambda i, example: (epoch, i, example)
        )

    examples = tf.data.Dataset.range(first_epoch, config.epochs)
    examples = examples.flat_map(epoch_examples)
    if workers > 1 and not by_file:
        examples = examples.filter(
            lambda epoch, i, example: (i % batch) // share == worker
        )

    def prepare(epoch, i, example):
        place = tf.random.fold_in(
            tf.stack([tf.constant(seed, tf.int64), epoch]), i
        )
        crop_seed, augment_seed = tf.unstack(tf.random.split(place, 2))
        encoded, label = source.load(example)

        def read():
            if config.augment.crop_scale:
                image = _random_crop(encoded, crop_seed, config)
            else:
                image = _whole(encoded, data)
            return augment(image, augment_seed, config.augment)

        image, valid = _or_broken(read, example["name"], data, broken)
        return epoch, i, image, label, valid

    def finish(epochs, indices, images, labels, valid):
        images, labels = _fill(images, labels, valid)
        labels = tf.one_hot(labels, len(source.names))
        if config.augment.mixup or config.augment.cutmix:
            # The same on every replica: a batch has one way to be mixed.
            place = tf.stack([tf.constant(seed, tf.int64), epochs[0]])
            place = tf.random.fold_in(place, -1 - indices[0] // batch)
            images, labels = mix(
                images,
                labels,
                place,
                config.augment.mixup,
                config.augment.cutmix,
            )
        return images, labels

    batches = (
        examples.map(
            prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        .batch(replica_batch, drop_remainder=True)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    if data.service:
        batches = batches.apply(
            tf.data.experimental.service.distribute(
                tf.data.experimental.service.ShardingPolicy.DYNAMIC,
                data.service,
            )
        )
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    source, split, data, batch_size, context=None, broken="/dev/null"
):
    """Batches of a split, in order and not augmented.

    Args:
        source: As `gcvit_training.sources.open_source` returns.
        split: Name of the split.
        data: A `DataConfig`: `image_size`, and the crop and interpolation.
        batch_size: Images a batch, over all replicas.
        context: A `tf.distribute.InputContext`. With one, batches are padded
            to the same number and size on every replica.
        broken: As of `training_batches`.

    Returns:
        `tf.data.Dataset` of float32 images `(n, size, size, 3)`, pixels in
        [0, 255], one-hot labels `(n, classes)` and weights `(n,)`: 0 for
        padding and for images that cannot be read, else 1.
    """
    workers, worker, replicas = _context(context)
    share = batch_size // workers
    size = source.size(split)
    steps = -(-size // batch_size)
    examples = source.examples(split).enumerate()
    if context is not None:
        padding = examples.take(1).map(lambda i, example: (i - 1, example))
        # Cached, or every repetition opens the files again.
        examples = examples.concatenate(padding.cache().repeat())
        examples = examples.take(steps * batch_size).enumerate()
        examples = examples.filter(
            lambda i, example: (i % batch_size) // share == worker
        ).map(lambda i, example: example)

    def prepare(i, example):
        encoded, label = source.load(example)
        image, valid = _or_broken(
            lambda: tf.cond(
                i < 0,
                lambda: tf.zeros((data.image_size, data.image_size, 3)),
                lambda: _whole(encoded, data),
            ),
            example["name"],
            data,
            broken,
        )
        weight = tf.cast(valid & (i >= 0), tf.float32)
        return image, tf.one_hot(label, len(source.names)), weight

    return (
        examples.map(
            prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        .batch(
            batch_size // replicas if context else batch_size,
            drop_remainder=context is not None,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def _context(context):
    """Workers, this worker, and replicas over all workers."""
    if context is None:
        return 1, 0, 1
    return (
        context.num_input_pipelines,
        context.input_pipeline_id,
        context.num_replicas_in_sync,
    )


def _cache(examples, where):
    return examples.cache() if where == "memory" else examples.cache(where)


def _or_broken(read, name, data, broken):
    """The image, or a grey one and False where reading it fails."""
    side = data.image_size
    return or_grey(
        read,
        (side, side),
        lambda: tf.print(name, output_stream=f"file://{broken}"),
    )


def _fill(images, labels, valid):
    """Puts readable images of a batch where unreadable ones are."""

    def filled():
        good = tf.reshape(tf.where(valid), [-1])
        some = tf.debugging.assert_positive(
            tf.size(good), "every image of a batch is unreadable"
        )
        with tf.control_dependencies([some]):  # or a division by 0 is first
            count = tf.size(good)
        places = tf.range(tf.size(valid))
        chosen = tf.where(
            valid, tf.cast(places, tf.int64), tf.gather(good, places % count)
        )
        return tf.gather(images, chosen), tf.gather(labels, chosen)

    shape = images.shape
    images, labels = tf.cond(
        tf.reduce_all(valid), lambda: (images, labels), filled
    )
    return tf.ensure_shape(images, shape), labels


def _random_crop(encoded, seed, config):
    """A random part of an image, resized; a JPEG's rest is not decoded."""

    def choose(sides):
        augment = config.augment
        part = random_crop(
            sides[0], sides[1], seed, augment.crop_scale, augment.crop_aspect
        )
        return tf.stack(part)

    reader = config.data.image_reader
    image = decode_part(encoded, choose, reader.max_pixels, trusted=True)
    side = config.data.image_size
    image = tf.image.resize(
        image, (side, side), config.data.interpolation, antialias=True
    )
    return tf.clip_by_value(image, 0, 255)


def _whole(encoded, data):
    """The image as evaluation sees it."""
    return data.image_reader.read_in_graph(encoded, trusted=True)
