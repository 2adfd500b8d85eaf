"""Datasets on which models are evaluated, compared and calibrated."""

import contextlib
import sys

from gcvit_cli.console import named_options


def reader_for(artifact, shape, size=None, crop_ratio=None):
    """Makes the `ImageReader` by which a model's images are evaluated.

    Args:
        artifact: Path of a run, a model or an export.
        shape: `(height, width, channels)` that it takes; height and width
            may be `None`.
        size: Side in pixels, for a model that takes any, or `None`.
        crop_ratio: Share that is seen, or `None` for its own.

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


def open_source(kind, config, data_dir, option="--split"):
    """Opens what the constructor of a task, `kind`, takes as its source.

    Args:
        kind: Subclass of `gcvit_training.tasks.Task`.
        config: As its `to_evaluate` returns; its `train_split` is the split.
        data_dir: Folder of TFDS's datasets, or `None`.
        option: Option that names the split, for messages.

    Raises:
        ValueError: If there is no such dataset or split.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with (
        contextlib.redirect_stdout(sys.stderr),  # --json has the other
        named_options({"data.train_split": f"`{option}`"}),
    ):
        return kind.open_source(config, data_dir)
