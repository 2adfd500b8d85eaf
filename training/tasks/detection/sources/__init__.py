"""Where images with objects come from: COCO, Pascal VOC, YOLO, TFDS."""

from pathlib import Path

from gcvit_training.tasks.detection.sources.coco import find_files, open_coco
from gcvit_training.tasks.detection.sources.images import Images, Item
from gcvit_training.tasks.detection.sources.voc import open_voc
from gcvit_training.tasks.detection.sources.yolo import find_folders, open_yolo

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
    splits = list(dict.fromkeys(splits))
    folder = Path(dataset).expanduser()
    if folder.is_dir():
        source, there = _open_folder(folder, splits, holdout, thorough)
    else:
        # Imports TFDS, which takes seconds.
        from gcvit_training.tasks.detection.sources.prepared import open_tfds

        source, there = open_tfds(dataset, splits, data_dir)
    for split in splits:
        if not source.items.get(split):
            raise ValueError(
                f"`data` must name splits with images, of {sorted(there)}. "
                f"Received: {split!r}"
            )
    return source


def _open_folder(folder, splits, holdout, thorough):
    """The source, and the names of the splits that there are."""
    if any((folder / "Annotations").glob("*.xml")):
        sets = sorted(folder.glob("ImageSets/Main/*.txt"))
        source = open_voc(folder, splits, holdout, thorough)
        if (folder / "ImageSets").is_dir():
            return source, [p.stem for p in sets]
        return source, ["train", "test"]
    files = find_files(folder)
    if files:
        source = open_coco(folder, files, splits, holdout, thorough)
        names = list(files) if len(files) > 1 else ["train", "test", *files]
        return source, names
    places = find_folders(folder)
    if places or any(folder.glob("labels/*.txt")):
        source = open_yolo(folder, splits, holdout, thorough)
        return source, list(places) or ["train", "test"]
    raise ValueError(
        "`data.dataset` must have COCO's JSON, Pascal VOC's Annotations or "
        f"YOLO's images and labels. Received: dataset={str(folder)!r}"
    )
