"""Datasets on which models are evaluated, compared and calibrated."""

import contextlib
import sys


def reader_for(artifact, shape, size=None, crop_ratio=None):
    """Makes the reader of a model's images, as its evaluation reads them.

    Args:
        artifact: Path of a run, a model or an export.
        shape: `(height, width, channels)` that it takes; height and width
            may be `None`.
        size: Side in pixels, for a model that takes any, or `None`.
        crop_ratio: Share that is seen, or `None` for its own.

    Returns:
        `gcvit_keras.ImageReader`.

    Raises:
        ValueError: If it does not take RGB or grey images of that size.
    """
    from gcvit_keras import ImageReader

    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"{artifact} takes no RGB or grey images: {shape}")
    reader = ImageReader.of(artifact)
    sides = reader.size if reader else (None, None)
    sides = tuple(own or x for own, x in zip(shape, sides, strict=False))
    if size and any(own not in (None, size) for own in shape[:2]):
        raise ValueError(
            f"--size must be the {' x '.join(map(str, shape[:2]))} of "
            f"{artifact}. Received: {size}"
        )
    sides = (size, size) if size else sides
    if None in sides:
        raise ValueError(f"{artifact} takes images of any size: give --size")
    reader = reader or ImageReader(sides)
    return reader.replace(size=sides, crop_ratio=crop_ratio, channels=shape[2])


def open_split(dataset, data_dir, split, reader, batch_size, option, holdout):
    """Opens a split of a dataset.

    Args:
        dataset: As `data.dataset` of a run.
        data_dir: Folder of TFDS's datasets, or `None`.
        split: Name of the split.
        reader: `gcvit_keras.ImageReader`.
        batch_size: Images at once.
        option: Option that names the split, for messages.
        holdout: Share of class folders that is `test`, or `None`.

    Returns:
        A source, and a function from a source to its batches of images,
        one-hot labels, and weights: 0 for images that cannot be read.

    Raises:
        ValueError: If there is no such dataset or split.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    from gcvit_training.tasks.classification import evaluation_batches
    from gcvit_training.tasks.classification.config import ImageDataConfig
    from gcvit_training.tasks.classification.sources import (
        has_split,
        open_source,
    )

    settings = {
        "dataset": dataset,
        "image_size": reader.size,
        "channels": reader.channels,
        "batch_size": batch_size,
        "crop_ratio": reader.crop_ratio,
        "crop_mode": reader.crop_mode,
        "interpolation": reader.interpolation,
    }
    if holdout is not None:
        settings["holdout"] = holdout
    config = ImageDataConfig(**settings)
    with contextlib.redirect_stdout(sys.stderr):  # --json has the other
        source = open_source(dataset, data_dir, config.holdout)
    has_split(source, split, option)

    def batches(source):
        return evaluation_batches(source, split, config, batch_size)

    return source, batches


def run_data(run):
    """Reads what data a run was made with; `None` of what is no run.

    Args:
        run: Folder of the run, or a file in it.

    Returns:
        The `data` of its configuration.

    Raises:
        ValueError: If the run's task has no classes.
    """
    config = (run if run.is_dir() else run.parent) / "config.yaml"
    if not config.is_file():
        return None
    from gcvit_training import read_config
    from gcvit_training.tasks import DEFAULT

    config = read_config(config)
    if config.task != DEFAULT:
        raise ValueError(
            f"{run} is of the task {config.task}; this command knows only "
            f"{DEFAULT}"
        )
    return config.data
