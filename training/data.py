"""From records to batches: the same `tf.data` pipeline for all tasks.

Order and augmentation follow from the seed, the epoch and the example's place
in it, and from nothing else. So a run that was killed goes on with the very
batches that it would have had, and every number of workers sees the same ones.
"""

import re
import shutil
import zlib
from pathlib import Path

import filelock
import tensorflow as tf

from gcvit_keras.files import WRITING
from gcvit_keras.images.graph import guarded, zeros


def steps_per_epoch(task):
    """Counts the whole batches in the training split of a `Task`."""
    data = task.config.data
    return task.source.size(data.train_split) // data.batch_size


def training_batches(task, first_step=0, context=None, broken="/dev/null"):
    """Makes shuffled, augmented batches from a step to the last epoch's end.

    Args:
        task: The run's `Task`.
        first_step: Step of the run to begin with.
        context: A `tf.distribute.InputContext`, or `None` for one replica.
        broken: Path of a text file that gets a line for every example that
            cannot be read.

    Returns:
        `tf.data.Dataset` of inputs and targets `(n, ...)`, as the task makes
        them; n is the batch of one replica. An example that cannot be read is
        replaced by another of its replica's batch, so that every epoch has
        the same steps on every worker; an operation fails where there is
        none. What is left of an epoch after its last whole batch is not seen
        in that epoch.

    Raises:
        ValueError: If workers were to read files of their own, and there are
            fewer files than workers.
    """
    config = task.config
    data, seed = config.data, config.seed
    workers, worker, replicas = _context(context)
    batch = data.batch_size
    share, replica_batch = batch // workers, batch // replicas
    steps = steps_per_epoch(task)
    first_epoch, skipped = divmod(first_step, steps)
    by_file = data.shard_by == "files" and workers > 1
    shard = (workers, worker) if by_file else (1, 0)
    files = _listing(task.source, data.train_split) if by_file else []
    if 0 < len(files) < workers:
        raise ValueError(
            "`data.shard_by` must be examples where there are fewer files than "
            f"workers. Received: shard_by=files, with {len(files)} files for "
            f"{workers} workers"
        )
    shuffled, load = _shuffled(task, shard)

    def epoch_examples(epoch):
        # Of this function's graph: shuffling depends on its argument alone.
        tf.random.set_seed(1)
        examples = shuffled(epoch * 7919 + seed)
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
        place = tf.stack([tf.constant(seed, tf.int64), epoch])
        place = tf.random.fold_in(place, i)
        made, valid = _guarded(
            lambda: task.example(load(example), place), example["name"], broken
        )
        return epoch, i, made, valid

    def finish(epochs, indices, made, valid):
        inputs, targets = _fill(made, valid)
        # The same on every replica: a batch has one seed.
        place = tf.stack([tf.constant(seed, tf.int64), epochs[0]])
        place = tf.random.fold_in(place, -1 - indices[0] // batch)
        return task.batch(inputs, targets, place)

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
    task, split=None, batch_size=None, context=None, broken="/dev/null"
):
    """Makes batches of a split, in order and not augmented.

    Args:
        task: The run's `Task`.
        split: Name of the split. Default: `data.evaluation_split`.
        batch_size: Examples per batch, over all replicas. Default:
            `data.batch_size`.
        context: A `tf.distribute.InputContext`. With one, batches are padded
            to the same number and size on every replica.
        broken: See `training_batches`.

    Returns:
        `tf.data.Dataset` of inputs and targets `(n, ...)`, as the task makes
        them, and float32 weights `(n,)`: 0 for padding and for examples that
        cannot be read, else 1.
    """
    source, data = task.source, task.config.data
    split = split or data.evaluation_split
    batch_size = batch_size or data.batch_size
    workers, worker, replicas = _context(context)
    share = batch_size // workers
    steps = -(-source.size(split) // batch_size)
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
        made, valid = _guarded(
            lambda: task.example(source.load(example)), example["name"], broken
        )
        return *made, tf.cast(valid & (i >= 0), tf.float32)

    return (
        examples.map(
            prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        .batch(
            batch_size // replicas if context else batch_size,
            drop_remainder=context is not None,
        )
        .map(
            lambda inputs, targets, weights: (
                *task.batch(inputs, targets),
                weights,
            )
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


def _shuffled(task, shard):
    """The training examples of a shard.

    Returns:
        A function from a seed to a dataset of examples in an order of its
        own, and one from an example to its content.
    """
    source, data = task.source, task.config.data
    if not data.cache:
        return (
            lambda seed: source.examples(
                data.train_split, seed, data.shuffle_buffer, shard
            ),
            source.load,
        )

    def read(example):
        content, valid = _guarded(lambda: source.load(example))
        return {"name": example["name"], "content": content, "valid": valid}

    def in_one_order(_):
        # Of this function's graph: every run that shares a folder has the
        # order that the first one would have given it.
        tf.random.set_seed(1)
        return source.examples(
            *(data.train_split, tf.constant(1, tf.int64)),
            *(data.shuffle_buffer, shard),
        )

    # In an order of no meaning, since a file can only be read from its start.
    examples = tf.data.Dataset.from_tensors(0).flat_map(in_one_order)
    examples = examples.map(
        read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    size = source.size(data.train_split)
    if data.cache == "memory":
        # What waits to be shuffled lies in the cache, and takes no room. One
        # more than there are, so that the cache sees the end and is whole.
        examples, buffer = examples.cache(), size + 1
    else:
        name = re.sub(r"\W+", "-", f"{Path(data.dataset).name} {shard}")
        facts = (
            *(data.dataset, data.train_split, size),
            getattr(source, "names", ()),
            _listing(source, data.train_split),
        )
        key = zlib.crc32(repr(facts).encode())
        path = Path(data.cache).expanduser() / f"{name}{key:08x}"
        examples, buffer = _in_folder(examples, path), data.shuffle_buffer

    def load(example):
        read = tf.debugging.assert_equal(example["valid"], True)
        with tf.control_dependencies([read]):
            return tf.nest.map_structure(tf.identity, example["content"])

    return (
        lambda seed: examples.shuffle(
            buffer, seed, reshuffle_each_iteration=False
        ),
        load,
    )


def _listing(source, split):
    """The source's `listing` of a split; empty where it has none."""
    return source.listing(split) if hasattr(source, "listing") else []


def _in_folder(examples, path):
    """Keeps examples in a folder, which whoever comes first fills.

    It is filled beside its place: TensorFlow's own lock file, which a killed
    process leaves, would keep everybody from a cache for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    filling = path.with_name(f"{WRITING}{path.name}")
    with filelock.FileLock(f"{path}.lock"):
        if not path.is_dir():
            shutil.rmtree(filling, ignore_errors=True)
            filling.mkdir()
            # An epoch would leave out what is no whole batch.
            for _ in examples.cache(str(filling / "examples")):
                pass
            filling.rename(path)
    return examples.cache(str(path / "examples"))


def _guarded(read, name=None, broken=None):
    """Calls `read` in a graph, and goes on where an operation of it fails.

    Args:
        read: Function that returns a structure of tensors of static shapes.
        name: Scalar string tensor, the line for `broken`.
        broken: Path of a text file, or `None`.

    Returns:
        The structure, of zeros where reading it fails, and a scalar boolean:
        whether it could be read.
    """

    def missing(specs):
        for spec in tf.nest.flatten(specs):
            if not spec.shape.is_fully_defined():
                raise ValueError(
                    "`Task.example` must make tensors of static shapes. "
                    f"Received: {spec}"
                )
        if broken is not None:
            tf.print(name, output_stream=f"file://{broken}")
        return zeros(specs)

    return guarded(lambda: (read(), True), missing)


def _fill(made, valid):
    """Puts readable examples of a batch where unreadable ones are."""

    def filled():
        good = tf.reshape(tf.where(valid), [-1])
        some = tf.debugging.assert_positive(
            tf.size(good), "every example of a batch is unreadable"
        )
        with tf.control_dependencies([some]):  # or a division by 0 is first
            count = tf.size(good)
        places = tf.range(tf.size(valid))
        chosen = tf.where(
            valid, tf.cast(places, tf.int64), tf.gather(good, places % count)
        )
        return tf.nest.map_structure(lambda t: tf.gather(t, chosen), made)

    result = tf.cond(tf.reduce_all(valid), lambda: made, filled)
    return tf.nest.map_structure(
        lambda t, like: tf.ensure_shape(t, like.shape), result, made
    )
