"""COCO's JSON beside a folder of images."""

import collections
import json

from gcvit_training.tasks.detection.sources.annotations import (
    Annotation,
    add_split,
)
from gcvit_training.tasks.detection.sources.images import Images
from gcvit_training.tasks.sources import (
    HOLD_OUT,
    Problem,
    find_split,
    hold_out,
)


def find_files(folder):
    """Finds the annotations of each split.

    Args:
        folder: `pathlib.Path` of a dataset.

    Returns:
        Dict of split to path: `annotations/instances_SPLIT.json`,
        `annotations/SPLIT.json`, `SPLIT.json`, or
        `SPLIT/_annotations.coco.json`.
    """
    paths = sorted(folder.glob("annotations/*.json"))
    paths = paths or sorted(folder.glob("*.json"))
    instances = [p for p in paths if p.stem.startswith("instances_")]
    found = {
        path.stem.removeprefix("instances_"): path
        for path in instances or paths
        if _is_coco(path)
    }
    for path in sorted(folder.glob("*/_annotations.coco.json")):
        found[path.parent.name] = path
    return found


def open_coco(folder, files, splits, holdout, thorough=False):
    """Reads COCO's JSON; see `open_source`.

    Args:
        folder: `pathlib.Path` of the dataset.
        files: As `find_files` returns. Where there is a single one, `train`
            and `test` are parts of it, whatever it is called.
        splits: As of `open_source`.
        holdout: As of `open_source`.
        thorough: As of `open_source`.

    Returns:
        `Images`.

    Raises:
        ValueError: If a file is no COCO JSON, or the classes of two differ.
    """
    contents = {}
    # Of one file either all wanted splits are that file or none is: else one
    # would be trained on what the other measures.
    held_out = (
        len(files) == 1
        and set(splits) <= set(HOLD_OUT)
        and not all(find_split(split, files) for split in splits)
    )

    def name_of(split):
        return next(iter(files)) if held_out else find_split(split, files)

    for split in splits:
        name = name_of(split)
        if name is not None and name not in contents:
            contents[name] = _read(files[name])
    classes = {}
    for name, content in contents.items():
        for category in content["categories"]:
            known = classes.setdefault(category["id"], category["name"])
            if known != category["name"]:
                raise ValueError(
                    f"{files[name]}: class {category['id']} must be "
                    f"{known!r} in all splits. Received: "
                    f"{category['name']!r}"
                )
    all_annotations = [a for c in contents.values() for a in c["annotations"]]
    used = {a.get("category_id") for a in all_annotations}
    names = list(classes.values())
    # Annotation tools add a class that nothing is of, called as the project
    # is, and perhaps as one of its classes.
    categories = tuple(
        number
        for number in sorted(classes)
        if number in used or names.count(classes[number]) == 1
    )
    labels = {number: i for i, number in enumerate(categories)}
    masks = sum(bool(a.get("segmentation")) for a in all_annotations)
    images = Images(
        names=tuple(str(classes[c]) for c in categories),
        categories=categories,
        has_masks=2 * masks > len(all_annotations),
        thorough=thorough,
    )
    for split in splits:
        name, part = name_of(split), None
        if held_out:
            files_of = {i.get("file_name") for i in contents[name]["images"]}
            part = set(hold_out(filter(None, files_of), holdout)[split])
        if name is not None:
            _add_split(
                *(images, split, contents[name], files[name]),
                *(folder, part, labels),
            )
    return images


def _add_split(images, split, content, file, folder, part, labels):
    problems, listed, files = [], {}, set()
    for image in content["images"]:
        number, name = image.get("id"), image.get("file_name")
        if not isinstance(number, int) or not name:
            problems.append(Problem(f"image {number}", "no id or file_name"))
        elif number in listed:
            problems.append(Problem(f"image {number}", "a duplicate image id"))
        elif name in files:
            where = f"image {number}, {name}"
            problems.append(Problem(where, "a duplicate file_name"))
        elif part is None or name in part:
            listed[number] = image
            files.add(name)
    of_image = collections.defaultdict(list)
    seen, strays = set(), 0
    known = {image.get("id") for image in content["images"]}
    for annotation in content["annotations"]:
        number = annotation.get("image_id")
        if number not in listed:
            if number not in known:
                where = f"annotation {annotation.get('id')}"
                problems.append(Problem(where, "an image that is not listed"))
                strays += 1
            continue
        read = _annotation(annotation, labels)
        if annotation.get("id") in seen:
            problems.append(Problem(read.where, "a duplicate id", True))
        seen.add(annotation.get("id"))
        of_image[number].append(read)
    place = _place_of_images(folder, file, split, listed.values())
    rows = [
        (place / image["file_name"], number, _size(image), of_image[number])
        for number, image in sorted(listed.items())
    ]
    add_split(images, split, rows, lambda _, them, size: them, problems)
    images.annotations[split] += strays


def _size(image):
    """Height and width that an image is said to have, or `None`."""
    size = image.get("height"), image.get("width")
    is_size = all(isinstance(side, int) and side > 0 for side in size)
    return size if is_size else None


def _annotation(annotation, labels):
    box = annotation.get("bbox")
    try:
        x, y, width, height = (float(v) for v in box)
        box = [x, y, x + width, y + height]
    except (TypeError, ValueError):
        box = None
    return Annotation(
        where=f"annotation {annotation.get('id')}",
        box=box,
        label=labels.get(annotation.get("category_id")),
        is_crowd=bool(annotation.get("iscrowd", 0)),
        area=annotation.get("area"),
        segmentation=annotation.get("segmentation"),
    )


def _place_of_images(folder, file, split, images):
    """The folder that holds the first image that is anywhere."""
    names = [image["file_name"] for image in images]
    stem = file.stem.removeprefix("instances_")
    places = [
        folder / p / s
        for p in ("", "images")
        for s in dict.fromkeys((stem, split))
    ]
    places += [file.parent, folder / "images", folder / "JPEGImages", folder]
    for name in names:
        for place in places:
            if (place / name).is_file():
                return place
    return places[0]


def _is_coco(path):
    """Whether a JSON file begins as an object with COCO's lists."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        start = file.read(2**16)
    words = ("images", "annotations", "categories", "info", "licenses")
    return start.lstrip()[:1] == "{" and any(f'"{w}"' in start for w in words)


def _read(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be an object of COCO's lists")
    for name in ("images", "annotations", "categories"):
        rows = content.get(name)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) for row in rows
        ):
            raise ValueError(f"{path} must have a list of objects {name!r}")
    if not all("id" in c and "name" in c for c in content["categories"]):
        raise ValueError(f"{path}: every category must have an id and a name")
    return content
