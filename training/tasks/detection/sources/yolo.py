"""YOLO's folders: a text file of boxes or polygons per image."""

import itertools

import numpy as np
import yaml

from gcvit_training.tasks.detection.sources.annotations import (
    Annotation,
    add_split,
)
from gcvit_training.tasks.detection.sources.images import Images
from gcvit_training.tasks.sources import (
    SUFFIXES,
    Problem,
    find_split,
    hold_out,
)


def open_yolo(folder, splits, holdout, thorough=False):
    """Reads `labels/SPLIT/*.txt` of `images/SPLIT`, and `data.yaml`.

    Lines are `CLASS X Y WIDTH HEIGHT`, the middle and the sides as shares of
    the image's, or `CLASS X1 Y1 X2 Y2 X3 Y3 ...`, a polygon. Folders
    `SPLIT/images` and `SPLIT/labels` are read, too.

    Args:
        folder: `pathlib.Path` of the dataset.
        splits: As of `open_source`.
        holdout: Likewise; for where `images` has no folders.
        thorough: Likewise.

    Returns:
        `Images`.

    Raises:
        ValueError: If `data.yaml` has no `names`.
    """
    names = _names(folder)
    places = find_folders(folder)
    problems, read = {}, {}
    for split in splits:
        if places:
            name = find_split(split, places)
            paths = name and places[name].rglob("*")
        else:
            names_of = hold_out(
                [p.name for p in _images(folder.glob("images/*"))], holdout
            )
            paths = [folder / "images" / n for n in names_of.get(split, [])]
        if not paths:
            continue
        problems[split], read[split] = [], []
        for path in _images(paths):
            objects = _read(_label_file(path), problems[split])
            read[split].append((path, objects))
    lines = [p for rows in read.values() for _, ps in rows for p in ps]
    polygons = sum(len(line[2]) > 4 for line in lines)
    has_masks = 2 * polygons > len(lines)
    images = Images(
        tuple(names),
        tuple(range(len(names))),
        has_masks=has_masks,
        thorough=thorough,
    )
    numbers = itertools.count(1)

    def annotate(path, objects, size):
        return [_annotation(*one, size, len(names)) for one in objects]

    for split, rows in read.items():
        rows = [(path, next(numbers), None, objects) for path, objects in rows]
        add_split(images, split, rows, annotate, problems[split])
    return images


def _images(paths):
    return sorted(p for p in paths if p.suffix.lower() in SUFFIXES)


def find_folders(folder):
    """Finds the folders of images of each split.

    Args:
        folder: `pathlib.Path` of the dataset.

    Returns:
        Dict of split to `pathlib.Path`.
    """
    places = {p.name: p for p in sorted(folder.glob("images/*")) if p.is_dir()}
    for path in sorted(folder.glob("*/images")):
        places[path.parent.name] = path
    return places


def _names(folder):
    paths = [folder / "data.yaml", *sorted(folder.glob("*.yaml"))]
    path = next((p for p in paths if p.is_file()), None)
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        if isinstance(names, dict):
            names = [names[i] for i in range(len(names))]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8: {error}") from None
    except (AttributeError, OSError, yaml.YAMLError, KeyError, TypeError):
        names = None
    is_list = isinstance(names, list) and names
    if not is_list or not all(isinstance(n, str | int) for n in names):
        raise ValueError(
            f"{folder} must have a data.yaml whose `names` are a list of the "
            "classes, or their names by number from 0"
        )
    return [str(name) for name in names]


def _label_file(path):
    """`labels/...txt` of `images/...jpg`: of the last folder of that name."""
    parts = list(path.parts)
    place = len(parts) - 1 - parts[::-1].index("images")
    parts[place] = "labels"
    return path.__class__(*parts).with_suffix(".txt")


def _read(path, problems):
    """Place, class and numbers of each line; no file has none."""
    if not path.is_file():
        return []
    objects = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {i}"
        try:
            label, *numbers = (float(word) for word in line.split())
        except ValueError:
            problems.append(Problem(where, "a line that is no numbers"))
            continue
        objects.append((where, label, numbers))
    return objects


def _annotation(where, label, numbers, size, classes):
    height, width = size
    known = label in range(classes)
    label = int(label) if known else None
    if len(numbers) == 4:
        x, y, w, h = numbers * np.array([width, height] * 2)
        box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        return Annotation(where, box, label)
    if len(numbers) < 6 or len(numbers) % 2:
        return Annotation(where, None, label)
    points = np.reshape(numbers, (-1, 2)) * [width, height]
    box = [*points.min(0), *points.max(0)]
    return Annotation(where, box, label, segmentation=[points.ravel()])
