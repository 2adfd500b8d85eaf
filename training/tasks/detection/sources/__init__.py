"""Where images with objects come from: COCO, Pascal VOC, YOLO, TFDS."""

from pathlib import Path

from gcvit_training.tasks.detection.sources.coco import find_files, open_coco
from gcvit_training.tasks.detection.sources.images import Images, Item
from gcvit_training.tasks.detection.sources.voc import open_voc
from gcvit_training.tasks.detection.sources.yolo import find_folders, open_yolo
from gcvit_training.tasks.sources import HOLD_OUT, nothing_held_out

__all__ = ["Images", "Item", "open_source"]


def open_source(dataset, splits, data_dir=None, holdout=0.1, thorough=False):
    """Finds a dataset of images with objects, and reads its annotations.

    Args:
        dataset: A folder with COCO's JSON (`annotations/*_SPLIT.json`,
            `SPLIT.json`, or one file for all), with Pascal VOC's
            `Annotations`, or with YOLO's `labels`; or a name that TFDS knows.
        splits: Names of the splits that are wanted. `train` finds
            `train2017`, too, where it is the only one that begins so.
        data_dir: Folder of what TFDS prepares. Default: TFDS's own.
        holdout: Share of the images that becomes `test` where a dataset has no
            splits; the rest is `train`.
        thorough: Whether to look for self-crossing polygons, which takes time
            quadratic in a polygon's points.

    Returns:
        `Images`.

    Raises:
        ValueError: If there is no such dataset, or it lacks a split.
    """
    folder, has_splits = Path(dataset).expanduser(), True
    if folder.is_dir():
        source, there, has_splits = _open_folder(
            folder, splits, holdout, thorough
        )
    else:
        # Imports TFDS, which takes seconds.
        from gcvit_training.tasks.detection.sources.prepared import open_tfds

        source, there = open_tfds(dataset, splits, data_dir)
    for split in splits:
        if not source.items.get(split):
            if set(splits) <= set(HOLD_OUT) and not has_splits:
                count = sum(map(len, source.items.values()))
                raise nothing_held_out(holdout, count, dataset)
            raise ValueError(
                f"`data` must name splits with images, of {sorted(there)}. "
                f"Received: {split!r}"
            )
    return source


def _open_folder(folder, splits, holdout, thorough):
    """The source, names of the splits, and whether they are the folder's."""
    if any((folder / "Annotations").glob("*.xml")):
        source = open_voc(folder, splits, holdout)
        sets = [p.stem for p in folder.glob("ImageSets/Main/*.txt")]
        has_splits = (folder / "ImageSets").is_dir()
        return source, sets if has_splits else HOLD_OUT, has_splits
    files = find_files(folder)
    if files:
        source = open_coco(folder, files, splits, holdout, thorough)
        if len(files) == 1:
            return source, [*HOLD_OUT, *files], False
        return source, list(files), True
    places = find_folders(folder)
    if places or any(folder.glob("labels/*.txt")):
        source = open_yolo(folder, splits, holdout, thorough)
        return source, list(places) or HOLD_OUT, bool(places)
    raise ValueError(
        "`data.dataset` must have COCO's JSON, Pascal VOC's Annotations or "
        f"YOLO's images and labels. Received: dataset={str(folder)!r}"
    )
