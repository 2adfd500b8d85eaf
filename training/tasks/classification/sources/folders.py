"""Images in files, one folder per class."""

import collections
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcvit_training.tasks.sources import SUFFIXES, Files, Problem, hold_out

KINDS = (
    (rb"\xff\xd8\xff|\x89PNG\r\n|BM|GIF8|RIFF....WEBP", None),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "a TIFF, which is not read"),
    (rb"....ftyp(avif|avis)", "an AVIF, which is not read"),
    (rb"....ftyp(hei|hev|mif)", "a HEIC, which is not read"),
)
"""Starts of files, and why they are no examples; `None` for images."""
SPLITS = re.compile(
    "(train|val|test|dev|eval)(ing|id|idation|uation)?", re.IGNORECASE
)
"""Names of folders that hold the classes of a split."""
OF_A_RUN = (".lock", "config.yaml", "evaluation.json", "saved_model.pb")
"""Files of which one is in a folder that a command wrote."""


@dataclass(frozen=True)
class Folders(Files):
    """Images in files, one folder per class.

    Attributes:
        names: Names of the classes.
        files: For each split a list of (path, label).
        problems: For each split a list of `Problem`, files that are no
            examples.
    """

    names: tuple
    files: dict
    problems: dict = field(default_factory=dict)

    def columns(self, split):
        """Paths and labels."""
        paths, labels = zip(*self.files[split], strict=True)
        return {"name": list(paths), "label": np.int64(labels)}

    def load(self, example):
        """The encoded image and the label of an example."""
        return tf.io.read_file(example["name"]), example["label"]


def open_class_folders(folder, holdout) -> Folders:
    """Opens a folder of class folders, with splits above them or without.

    Class folders are read with all that is in them. Files are images by their
    suffix, or else by what they begin with; hidden ones are not looked at.

    Args:
        folder: `pathlib.Path`.
        holdout: Share of every class that becomes the split `test` where there
            are no folders `train`, `val` or the like.

    Returns:
        `Folders`.

    Raises:
        ValueError: If there are no classes, one has no images, or splits and
            classes lie side by side.
    """
    inner = [p for p in _folders(folder) if not _is_of_a_run(p)]
    if any(SPLITS.fullmatch(p.name) and _holds_folders_only(p) for p in inner):
        return _with_splits(folder, inner)
    ignored = _loose(folder)
    ignored += [
        Problem(str(p), "the folder of a run or a model")
        for p in _folders(folder)
        if p not in inner
    ]
    files = {"train": [], "test": []}
    classes = _read_classes(folder, {p.name: [p] for p in inner}, ignored)
    for label, (name, paths) in enumerate(classes.items()):
        parts = hold_out(
            paths,
            holdout,
            lambda path, top=folder / name: path.relative_to(top).as_posix(),
        )
        for split, paths in parts.items():
            files[split] += [(str(p), label) for p in paths]
    return Folders(tuple(classes), files, {"train": ignored})


def _with_splits(folder, splits):
    """The source of `SPLIT/CLASS/...` folders."""
    mixed = [p.name for p in splits if not _holds_folders_only(p)]
    if mixed:
        names = [p.name for p in splits if p.name not in mixed]
        raise ValueError(
            f"{folder} has splits ({', '.join(names)}) beside folders of "
            f"images ({', '.join(mixed)}): put these into a split, too, as "
            f"{names[0]}/{mixed[0]}"
        )
    ignored = {p.name: _loose(p) for p in splits}
    ignored[splits[0].name] += _loose(folder)
    places = collections.defaultdict(list)
    for split in splits:
        for path in _folders(split):
            places[path.name].append(path)
    classes = _read_classes(folder, places, none := [])
    for problem in none:
        split = Path(problem.where).relative_to(folder).parts[0]
        ignored[split].append(problem)
    files = {p.name: [] for p in splits}
    for label, paths in enumerate(classes.values()):
        for path in paths:
            split = path.relative_to(folder).parts[0]
            files[split].append((str(path), label))
    return Folders(tuple(classes), files, ignored)


def _read_classes(folder, places, ignored):
    """Images of each class, by name, in order; others go to `ignored`.

    Args:
        folder: Path for messages.
        places: Dict of a class's name to its folders.
        ignored: List of `Problem` that is added to.

    Returns:
        Dict of the name to a list of `pathlib.Path`.
    """
    classes = {}
    for name in sorted(places):
        begin = len(ignored)
        classes[name] = [
            path for place in places[name] for path in _images(place, ignored)
        ]
        if not classes[name]:
            why = collections.Counter(p.reason for p in ignored[begin:])
            seen = ", ".join(f"{count} are {why}" for why, count in why.items())
            raise ValueError(
                f"{places[name][0]} has no images, but would be a class"
                + (f"; of its files {seen}" if seen else "")
            )
    if not classes:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise ValueError(f"{folder} has no class folders of images ({kinds})")
    return classes


def _images(folder, ignored):
    """Paths of all images in a folder and in those within it, in order."""
    found = []
    for top, folders, names in os.walk(folder):
        for name in list(folders):
            if name.startswith("."):
                folders.remove(name)
            elif os.path.islink(os.path.join(top, name)):
                # It may lead back.
                path = os.path.join(top, name)
                ignored.append(Problem(path, "a link to a folder"))
        folders.sort()
        for name in sorted(names):
            path = Path(top, name)
            if name.startswith("."):
                continue
            why = None if path.suffix.lower() in SUFFIXES else _why_not(path)
            if why is None:
                found.append(path)
            else:
                ignored.append(Problem(str(path), why))
    return sorted(found)


def _why_not(path):
    """Why a file is no example by its content, or `None`."""
    if not path.is_file():  # opening a pipe would wait for ever
        return "no file"
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        return error.strerror
    for mark, why in KINDS:
        if re.match(mark, start, re.DOTALL):
            return why
    return "no image"


def _loose(folder):
    """Files beside folders in which classes are looked for."""
    return [
        Problem(str(path), "in no class folder")
        for path in sorted(folder.iterdir())
        if not path.is_dir() and not path.name.startswith(".")
    ]


def _holds_folders_only(folder):
    images = any(
        path.suffix.lower() in SUFFIXES and not path.is_dir()
        for path in folder.iterdir()
    )
    return bool(_folders(folder)) and not images


def _is_of_a_run(folder):
    return any((folder / name).exists() for name in OF_A_RUN)


def _folders(folder):
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
