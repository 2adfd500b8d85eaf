"""Where images and labels come from: TFDS, TFRecords or class folders."""

from pathlib import Path

from gcvit_training.tasks.classification.digits import Digits
from gcvit_training.tasks.classification.sources.folders import (
    Folders,
    open_class_folders,
)
from gcvit_training.tasks.classification.sources.records import (
    open_tfds,
    open_tfrecords,
)
from gcvit_training.tasks.classification.sources.sample import Sample
from gcvit_training.tasks.prepared import prepare

__all__ = ["Folders", "Sample", "check_splits", "open_source"]


def open_source(dataset, data_dir=None, holdout=0.1):
    """Finds a dataset, and prepares it where TFDS has to.

    Args:
        dataset: `digits`; a name that TFDS knows; or a folder: one that TFDS
            wrote, one of `SPLIT*.tfrecord*` files with `labels.txt`, or one
            of class folders, `CLASS/.../IMAGE`, or `SPLIT/CLASS/.../IMAGE`
            with splits called `train`, `val`, `test` or the like.
        data_dir: Folder of what TFDS prepares; made where missing. Default:
            TFDS's own.
        holdout: Share of every class of `CLASS/IMAGE` folders that becomes
            the split `test`; the rest is `train`.

    Returns:
        A source: `names` of the classes, `size(split)`, and `examples` and
        `load` for the pipeline.

    Raises:
        ValueError: If there is no such dataset, or it cannot be used.
    """
    folder = Path(dataset).expanduser()
    if folder.is_dir() and dataset != "digits":
        if (folder / "dataset_info.json").is_file():
            return open_tfds(prepare(dataset))
        if any(folder.glob("*.tfrecord*")):
            return open_tfrecords(folder)
        return open_class_folders(folder, holdout)
    if dataset == "digits":
        builder = Digits(data_dir=data_dir and str(data_dir))
        builder.download_and_prepare()
        return open_tfds(builder)
    kinds = "digits, a name that TFDS knows or a folder"
    return open_tfds(prepare(dataset, data_dir, kinds))


def check_splits(source, data):
    """Refuses splits that a source does not have.

    Args:
        source: As `open_source` returns.
        data: A `DataConfig`, which names them.

    Raises:
        ValueError: If one is unknown or empty.
    """
    for field in ("train_split", "evaluation_split"):
        split = getattr(data, field)
        try:
            size = source.size(split)
        except (KeyError, ValueError, AssertionError):
            raise ValueError(
                f"`data.{field}` must be one of {sorted(source.splits)}"
                f", or part of one of TFDS's. Received: {split!r}"
            ) from None
        if not size:
            raise ValueError(f"`data.{field}` has no images: {split!r}")
