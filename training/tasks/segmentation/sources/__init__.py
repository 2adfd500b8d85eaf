"""Where images with label maps come from: folders of many layouts, TFDS."""

from pathlib import Path

from gcvit_training.tasks.segmentation.label_map import make_table
from gcvit_training.tasks.segmentation.sources import layouts
from gcvit_training.tasks.segmentation.sources.classes import (
    CITYSCAPES,
    VOC,
    read_names,
)
from gcvit_training.tasks.segmentation.sources.pairs import Pairs
from gcvit_training.tasks.sources import (
    describe_problems,
    find_split,
    hold_out,
    nothing_held_out,
)

__all__ = ["Pairs", "open_source"]


def open_source(data, data_dir=None):
    """Finds a dataset of images with label maps.

    Args:
        data: A `SegmentationDataConfig`.
        data_dir: Folder of what TFDS prepares. Default: TFDS's own.

    Returns:
        A source for the pipeline, with `names` of the classes, `table` from
        numbers to classes, and `problems`, for each split a list of `Problem`.

    Raises:
        ValueError: If there is no such dataset, or it lacks a split, or names
            of its classes.
    """
    folder = Path(data.dataset).expanduser()
    if folder.is_dir() and not (folder / "dataset_info.json").is_file():
        return _open_folder(folder, data)
    from gcvit_training.tasks.segmentation.sources.prepared import open_tfds

    return open_tfds(data, data_dir)


def _open_folder(folder, data):
    layout, places = layouts.places(folder)
    if layout == "none":
        raise ValueError(
            "`data.dataset` must have images/SPLIT beside labels/SPLIT, masks/"
            "SPLIT or annotations/SPLIT, or the layout of Cityscapes, Pascal "
            f"VOC or COCO. Received: dataset={str(folder)!r}"
        )
    whole = None
    if None in places:
        pairs, lost = layouts.find_pairs(*places[None])
        whole = hold_out(
            pairs, data.holdout, lambda pair: pair[0].split("/")[-1]
        )
    files, problems, kinds = {}, {}, {}
    for split in data.splits:
        name = find_split(split, list(whole or places))
        if name is None:
            there = sorted(whole or places)
            raise ValueError(
                f"`data` must name splits of {there}. Received: {split!r}"
            )
        if whole:
            files[split], problems[split] = whole[name], lost
            lost = []
        elif layout == "cityscapes":
            files[split], problems[split], kinds[split] = layouts.cityscapes(
                folder, places[name]
            )
        elif layout == "voc":
            files[split], problems[split] = layouts.voc(folder, places[name])
        else:
            files[split], problems[split] = layouts.find_pairs(*places[name])
        if whole and pairs and not files[split]:
            raise nothing_held_out(data.holdout, len(pairs), folder)
        if not files[split]:
            lines = describe_problems({split: problems[split]})
            raise ValueError(
                f"`data` must name splits with images that have label maps. "
                f"Received: {split!r} of {folder}"
                + "".join(f"; {line}" for line in lines)
            )
    if len(set(kinds.values())) > 1:
        of = {True: "labelTrainIds", False: "labelIds"}
        raise ValueError(
            "the label maps of Cityscapes must be of one kind in both splits. "
            "Received: "
            + ", ".join(f"{of[kind]} in {s!r}" for s, kind in kinds.items())
        )
    train_ids = all(kinds.values())
    names, numbers = _classes(folder, layout, data, train_ids)
    table = make_table(len(names), data.reduce_zero_label, numbers)
    if layout == "cityscapes" and not train_ids:
        # Every other number is of what is not measured.
        table[table < 0] = 255
    return Pairs(tuple(names), files, table, problems)


def _classes(folder, layout, data, train_ids):
    """Names, and the number of each in label maps or `None`."""
    if layout == "cityscapes":
        numbers = None if train_ids else list(CITYSCAPES)
        return list(CITYSCAPES.values()), numbers
    named = read_names(folder)
    if named is None and layout == "voc":
        named = VOC, None
    if named is None and data.classes is None:
        raise ValueError(
            "`data.classes` must be the number of classes: no labels.txt in "
            f"{folder} names them"
        )
    if named is None:
        return [f"class {k}" for k in range(data.classes)], None
    names, numbers = named
    if data.classes not in (None, len(names)):
        raise ValueError(
            f"`data.classes` must be the {len(names)} that {folder} names, or "
            f"null. Received: classes={data.classes}"
        )
    return names, numbers
