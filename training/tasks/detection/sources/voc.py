"""Pascal VOC: an XML file per image."""

import functools
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from gcvit_training.tasks.detection.masks import encode
from gcvit_training.tasks.detection.sources.annotations import (
    Annotation,
    add_split,
)
from gcvit_training.tasks.detection.sources.images import Images
from gcvit_training.tasks.sources import SUFFIXES, Problem, hold_out

DIFFICULT = "difficult: not learned, and no error where it is found"
VOID = 255
"""Pixels of a border in VOC's pictures of masks."""


def open_voc(folder, splits, holdout):
    """Reads `Annotations/*.xml`, with `JPEGImages` and `ImageSets/Main`.

    Where there are pictures of most objects in `SegmentationObject`, the k-th
    colour is the mask of the k-th object.

    Args:
        folder: `pathlib.Path` of the dataset.
        splits: As of `open_source`.
        holdout: Likewise; for where there are no `ImageSets`.

    Returns:
        `Images`.

    Raises:
        ValueError: If there are no objects at all.
    """
    stems = sorted(p.stem for p in (folder / "Annotations").glob("*.xml"))
    names_of = _splits(folder, splits, stems, holdout)
    problems = {split: [] for split in names_of}
    read = {
        split: [
            (stem, *found)
            for stem in stems
            # Without its objects an image would be taken for background.
            if (found := _read(folder, stem, problems[split])) is not None
        ]
        for split, stems in names_of.items()
    }
    objects = [o for rows in read.values() for _, _, os in rows for o in os]
    names = sorted({name for name, box, _ in objects if name and box})
    if names_of and not names:
        raise ValueError(f"{folder} has no objects in Annotations")
    # VOC itself has masks of few images: then boxes alone are learned.
    counts = [
        (len(objects), _mask_file(folder, stem).is_file())
        for rows in read.values()
        for stem, _, objects in rows
    ]
    with_masks = sum(count for count, has_mask in counts if has_mask)
    has_masks = 2 * with_masks > sum(count for count, _ in counts)
    images = Images(
        tuple(names), tuple(range(1, len(names) + 1)), has_masks=has_masks
    )
    numbers = itertools.count(1)
    for split, rows in read.items():
        add_split(
            images,
            split,
            [
                (_image(folder, stem), next(numbers), size, objects)
                for stem, size, objects in rows
            ],
            functools.partial(_annotations, folder, images, problems[split]),
            problems[split],
        )
    return images


def _annotations(folder, images, problems, path, objects, size):
    """The objects of an image, with their masks where all have some."""
    stem = path.relative_to(folder / "JPEGImages").with_suffix("")
    masks = _masks(folder, stem, problems) if images.has_masks else {}
    annotations = []
    for k, (name, box, is_difficult) in enumerate(objects, 1):
        where = f"{stem}.xml, object {k}"
        if is_difficult:
            problems.append(Problem(where, DIFFICULT, True))
        annotations.append(
            Annotation(
                where,
                box,
                images.names.index(name) if name in images.names else None,
                is_crowd=is_difficult,
                segmentation=masks.get(k),
            )
        )
    return annotations


def _splits(folder, splits, stems, holdout):
    """Names of the images of each split."""
    found = {}
    for split in splits:
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        if path.is_file():
            words = (line.split() for line in path.read_text().splitlines())
            found[split] = [w[0] for w in words if w]
    if not (folder / "ImageSets").is_dir():
        held = hold_out(stems, holdout)
        found |= {split: held[split] for split in splits if split in held}
    return found


def _read(folder, stem, problems):
    """Size, or `None`, and objects of an image.

    Of each its name, its box and whether it is difficult.

    Returns:
        `None` where the file cannot be read.
    """
    path = folder / "Annotations" / f"{stem}.xml"
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        problems.append(Problem(str(path), f"no XML that can be read: {error}"))
        return None
    for node in root.iter():  # without the names of namespaces
        node.tag = node.tag.split("}")[-1]
    size = None
    try:
        size = tuple(
            int(root.findtext(f"size/{s}")) for s in "height width".split()
        )
        size = size if min(size) > 0 else None
    except (TypeError, ValueError):
        pass
    objects = []
    for node in root.iter("object"):
        try:
            # Pixels are counted from 1, and the last one is within.
            x1, y1, x2, y2 = (
                float(node.findtext(f"bndbox/{side}"))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            box = [x1 - 1, y1 - 1, x2, y2]
        except (TypeError, ValueError):
            box = None
        name = (node.findtext("name") or "").strip()
        is_difficult = (node.findtext("difficult") or "").strip() == "1"
        objects.append((name, box, is_difficult))
    return size, objects


def _mask_file(folder, stem):
    return folder / "SegmentationObject" / f"{stem}.png"


def _image(folder, stem):
    """Path of an image, which may be none."""
    for suffix in SUFFIXES:
        for spelling in (suffix, suffix.upper()):
            path = folder / "JPEGImages" / f"{stem}{spelling}"
            if path.is_file():
                return path
    return folder / "JPEGImages" / f"{stem}.jpg"


def _masks(folder, stem, problems):
    """Run lengths by the number of the object."""
    path = _mask_file(folder, stem)
    if not path.is_file():
        return {}
    try:
        with Image.open(path) as picture:
            numbers = np.asarray(picture)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        problems.append(
            Problem(str(path), f"no image that can be read: {error}")
        )
        return {}
    if numbers.ndim != 2:
        problems.append(Problem(str(path), "colours without a palette"))
        return {}
    return {
        int(k): encode(numbers == k)
        for k in np.unique(numbers)
        if k not in (0, VOID)
    }
