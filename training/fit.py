"""A run, from its configuration to a trained model."""

from pathlib import Path

import keras
import tensorflow as tf

from gcvit_keras import checks
from gcvit_training.cpu import fast_on_cpu
from gcvit_training.data import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from gcvit_training.errors import plain
from gcvit_training.progress import Bar, Progress
from gcvit_training.run import Run
from gcvit_training.run_folder import RunFolder
from gcvit_training.strategy import choose_strategy, is_chief
from gcvit_training.tasks import open_task


def train(
    config,
    out,
    data_dir=None,
    strategy=None,
    callbacks=(),
    verbose=1,
    report=print,
) -> keras.Model:
    """Trains a model with `model.fit`, or goes on with a run.

    The folder gets `config.yaml`, `metrics.csv` (a line per epoch),
    `checkpoints`, `logs` for TensorBoard, `broken_images.txt` where images
    could not be read, and in the end `model.keras` and what the task writes
    beside it, such as `labels.txt`. Called again after a crash, it goes on
    from the last checkpoint, with the very batches that were left, and ends as
    it would have.

    Args:
        config: A `RunConfig`, as `read_config` returns.
        out: Folder of the run: new, empty, or of this very run.
        data_dir: Folder of what TFDS prepares. Default: `data` in `out`.
        strategy: A `tf.distribute.Strategy`. Default: the configuration's.
        callbacks: Keras callbacks, as `model.fit` takes. One that sets
            `model.stop_training` ends the run.
        verbose: 0 for no progress bar, 1 for one, 2 for a line per epoch.
        report: Called with a line of text when there is something to say.

    Returns:
        The trained `keras.Model`, as the task's `network` makes it: one that
        names classes is of images `(batch, height, width, channels)`, pixels
        in [0, 255], and gives probabilities `(batch, classes)`. With
        `optimizer.ema` its weights are the averages.

    Raises:
        ValueError: If the configuration does not fit the data, the devices
            or the folder.
        TrainingError: If the loss is not a number, too many images cannot be
            read, the disk is full or a worker is gone.
        Preempted: After SIGTERM, when a checkpoint is written.

    Examples:
    >>> from gcvit_training import read_config, train
    >>> settings = ["epochs=1", "optimizer.warmup_epochs=0"]
    >>> settings += ["data.train_split=train[:64]", "data.batch_size=16"]
    >>> settings += [f"model.{k}=[1, 1, 1, 1]" for k in ("depths", "num_heads")]
    >>> model = train(read_config("digits", settings), "run", verbose=0)
    Downloading and preparing dataset ...
    >>> print(model.output_shape)
    (None, 10)
    """
    checks.tensorflow_backend("gcvit_training")
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = strategy or choose_strategy(config.strategy)
    folder = RunFolder(out, writes=is_chief(strategy))
    with folder.claimed(config):
        task = open_task(config, data_dir or Path(out) / "data")
        task.check()
        _check_batches(task, strategy)
        for line in task.notes():
            report(line)
        if config.data.batch_size == strategy.num_replicas_in_sync:
            report(
                "A replica has one example per step, which no other can stand "
                "in for: one that cannot be read stops the run."
            )
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.precision)
        try:
            run = Run(task, folder, strategy, report)
            folder.write_config(config)
            _fit(run, callbacks, verbose)
        except tf.errors.OpError as error:
            raise plain(error, folder, strategy) from error
        finally:
            keras.config.set_dtype_policy(policy)
        if folder.writes:
            task.write(folder)
            with folder.replacing("model.keras") as beside:
                # Keras wants the suffix, which stays.
                run.network.save(beside)
    return run.network


def _fit(run, callbacks, verbose):
    """Trains what is left, and takes the averages where there are any."""
    task, config = run.task, run.config
    validation = run.strategy.distribute_datasets_from_function(
        lambda context: evaluation_batches(
            task, context=context, broken=run.broken["evaluation_split"]
        ).repeat()
    )
    progress = Progress(run)
    callbacks = [progress, *callbacks]
    if run.folder.writes:
        callbacks.append(
            keras.callbacks.TensorBoard(
                str(run.folder.path / "logs"),
                histogram_freq=config.histograms,
                write_graph=False,
                profile_batch=config.profile or 0,
            )
        )
        callbacks.append(Bar(config.epochs))
    try:
        with fast_on_cpu(run.network):
            # Twice where an epoch was begun: its rest, and all others.
            while not run.done:
                _fit_epochs(run, validation, callbacks, verbose)
    finally:
        progress.restore_signals()
    run.trainer.swap_averages()
    run.close()


def _fit_epochs(run, validation, callbacks, verbose):
    """Trains to the end of a begun epoch, or of all."""
    task, config, step = run.task, run.config, run.step
    done = step % run.steps_per_epoch
    batches = run.strategy.distribute_datasets_from_function(
        lambda context: training_batches(
            task, step, context, run.broken["train_split"]
        )
    )
    size = task.source.size(config.data.evaluation_split)
    run.trainer.fit(
        batches,
        initial_epoch=run.epoch,
        epochs=run.epoch + 1 if done else config.epochs,
        steps_per_epoch=run.steps_per_epoch - done,
        validation_data=validation,
        validation_steps=-(-size // config.data.batch_size),
        callbacks=callbacks,
        shuffle=False,  # the pipeline does
        verbose=verbose if run.folder.writes else 0,
    )
    if run.trainer.stop_training and run.epoch < config.epochs:
        run.stopped = True
        run.save()


def _check_batches(task, strategy):
    """Refuses batches that the data or the devices do not make.

    Raises:
        ValueError: If a batch is larger than the data, or cannot be shared
            among the replicas.
    """
    config = task.config
    replicas = strategy.num_replicas_in_sync
    batch, parts = config.data.batch_size, config.optimizer.accumulate
    if batch % replicas:
        raise ValueError(
            f"`data.batch_size` must be a multiple of the {replicas} replicas. "
            f"Received: batch_size={batch}"
        )
    if batch // replicas % parts:
        raise ValueError(
            f"`optimizer.accumulate` must divide the {batch // replicas} "
            f"images of a replica. Received: accumulate={parts}"
        )
    task.check_replicas(batch // replicas)
    steps = steps_per_epoch(task)
    warmup = config.optimizer.warmup_steps or 0
    if steps and warmup >= steps * config.epochs:
        raise ValueError(
            f"`optimizer.warmup_steps` must be below the {steps} x "
            f"{config.epochs} steps of the run. Received: warmup_steps={warmup}"
        )
    if not steps:
        raise ValueError(
            "`data.batch_size` must be at most the "
            f"{task.source.size(config.data.train_split)} training images. "
            f"Received: batch_size={batch}"
        )
    if steps % config.steps_per_execution:
        raise ValueError(
            f"`steps_per_execution` must divide the {steps} steps per epoch. "
            f"Received: steps_per_execution={config.steps_per_execution}"
        )
