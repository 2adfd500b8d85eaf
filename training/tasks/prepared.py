"""Datasets that TensorFlow Datasets (TFDS) prepares."""

from pathlib import Path

import tensorflow_datasets as tfds


def prepare(dataset, data_dir=None, kinds="a folder or a name that TFDS knows"):
    """Opens a dataset of TFDS, and prepares it where that is to be done.

    Args:
        dataset: Name that TFDS knows, or path of a folder that it wrote.
        data_dir: Folder of what TFDS prepares; made where missing. Default:
            TFDS's own.
        kinds: Words of the message for what a dataset may be.

    Returns:
        `tfds.core.DatasetBuilder`.

    Raises:
        ValueError: If there is no such folder or dataset.
    """
    folder = Path(dataset).expanduser()
    try:
        if folder.is_dir():
            builder = tfds.builder_from_directory(str(folder))
        elif dataset[:1] in (".", "/", "~"):
            raise ValueError(f"`data.dataset` is no folder: {dataset}")
        else:
            builder = tfds.builder(dataset, data_dir=data_dir and str(data_dir))
    except tfds.core.DatasetNotFoundError:
        raise ValueError(
            f"`data.dataset` must be {kinds}. Received: dataset={dataset!r}"
        ) from None
    builder.download_and_prepare()
    return builder


def record_files(info, split):
    """Lists the files of a split.

    Args:
        info: `tfds.core.DatasetInfo`.
        split: Name of the split, in TFDS's notation.

    Returns:
        List of (path, records to skip, records to take).
    """
    files = []
    for file in info.splits[split].file_instructions:
        take = file.take
        if take < 0:  # all that follow
            take = file.examples_in_shard - file.skip
        files.append((file.filename, file.skip, take))
    return files
