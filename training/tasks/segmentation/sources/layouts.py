"""Finds pairs of image and label map in the layouts that datasets have."""

import collections
import re

from gcvit_training.tasks.sources import SUFFIXES, Problem

LABELS = ("annotations", "labels", "masks")
"""Folders of label maps beside `images`."""
NO_MAP = "an image without a label map"
NO_IMAGE = "a label map without an image"
NO_PNG = "a label map that is no .png file"
SAME_NAME = "an image whose name, but for the suffix, another one has"


def find_pairs(images, labels, ending=("", "")):
    """Pairs the images of a folder with label maps of the same name.

    Args:
        images: `pathlib.Path`, looked into with all its folders.
        labels: Likewise, of PNG files.
        ending: What ends the names of both, before the suffix.

    Returns:
        List of (image, label map), and list of `Problem`.
    """
    pictures = _named(images, SUFFIXES, ending[0])
    all_maps = _named(labels, SUFFIXES, ending[1])
    maps = {
        k: [p for p in paths if p.lower().endswith(".png")]
        for k, paths in all_maps.items()
    }
    pairs, problems = [], []
    for name, paths in sorted(pictures.items()):
        if len(paths) > 1:
            problems += [Problem(p, SAME_NAME) for p in paths]
        elif maps.get(name):
            pairs.append((paths[0], maps[name][0]))
        else:
            problems.append(Problem(paths[0], NO_MAP))
    for name, paths in sorted(all_maps.items()):
        reason = NO_IMAGE if maps[name] else NO_PNG
        if name not in pictures or not maps[name]:
            problems.append(Problem(paths[0], reason))
    return pairs, problems


def _named(folder, suffixes, ending):
    """Lists of paths of a folder's files, by their names within it."""
    found = collections.defaultdict(list)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        hidden = any(p.startswith(".") for p in path.relative_to(folder).parts)
        if path.suffix.lower() not in suffixes or hidden:
            continue
        if name.endswith(ending) and path.is_file():
            found[name[: len(name) - len(ending)]].append(str(path))
    return found


def cityscapes(folder, split):
    """Finds the pairs of Cityscapes.

    Args:
        folder: `pathlib.Path` of the dataset.
        split: Name of a folder of `leftImg8bit` and of `gtFine`.

    Returns:
        List of (image, label map); list of `Problem`; and whether the maps are
        of `labelTrainIds`, which count where a split has both kinds, and not
        of `labelIds`.
    """
    images, labels = folder / "leftImg8bit" / split, folder / "gtFine" / split
    ids = "_gtFine_labelTrainIds"
    is_train_ids = any(labels.rglob(f"*{ids}.png"))
    if not is_train_ids:
        ids = "_gtFine_labelIds"
    return *find_pairs(images, labels, ("_leftImg8bit", ids)), is_train_ids


def voc(folder, split):
    """Finds the pairs of Pascal VOC: those that `ImageSets` lists.

    Args:
        folder: `pathlib.Path` of the dataset.
        split: Name of a file of `ImageSets/Segmentation`, without its suffix.

    Returns:
        List of (image, label map), and list of `Problem`.

    Raises:
        OSError: If there is no such file.
    """
    text = (folder / "ImageSets" / "Segmentation" / f"{split}.txt").read_text()
    pairs, problems = [], []
    for name in text.split():
        image = folder / "JPEGImages" / f"{name}.jpg"
        labels = folder / "SegmentationClass" / f"{name}.png"
        if not labels.is_file():
            problems.append(Problem(str(image), NO_MAP))
        elif not image.is_file():
            problems.append(Problem(str(labels), NO_IMAGE))
        else:
            pairs.append((str(image), str(labels)))
    return pairs, problems


def places(folder):
    """Finds where a dataset's splits are, by its layout.

    Args:
        folder: `pathlib.Path` of the dataset.

    Returns:
        Name of the layout, and a dict of split to what `find_pairs` takes; of
        `"plain"` the split may be `None`: there are none.
    """
    if (folder / "leftImg8bit").is_dir():
        names = _folders(folder / "leftImg8bit")
        return "cityscapes", {p.name: p.name for p in names}
    sets = sorted(folder.glob("ImageSets/Segmentation/*.txt"))
    if sets:
        return "voc", {p.stem: p.stem for p in sets}
    coco = {
        p.name.removeprefix("semantic_"): p
        for p in _folders(folder / "annotations")
        if re.match("semantic_.", p.name)
    }
    found = {
        s: (folder / s, p) for s, p in coco.items() if (folder / s).is_dir()
    }
    if found:
        return "plain", found
    images = folder / "images"
    labels = [folder / n for n in LABELS if (folder / n).is_dir()]
    if not images.is_dir() or not labels:
        return "none", {}
    splits = [p.name for p in _folders(images) if (labels[0] / p.name).is_dir()]
    if splits:
        return "plain", {s: (images / s, labels[0] / s) for s in splits}
    return "plain", {None: (images, labels[0])}


def _folders(folder):
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."
    )
