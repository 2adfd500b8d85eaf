"""Annotations of one image: what of them can be used, and why not the rest."""

from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from gcvit_training.tasks.detection.masks import to_rle
from gcvit_training.tasks.detection.sources.images import Item
from gcvit_training.tasks.sources import Problem

TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""


class Annotation(NamedTuple):
    """One object, as a file says it.

    Attributes:
        where: For a person who looks for it.
        box: Four numbers x1, y1, x2, y2 in pixels.
        label: Index of its class, or `None` for one that there is not.
        is_crowd: Whether it is a region of many objects.
        area: In pixels, or `None` for that of the mask or the box.
        segmentation: As of `masks.to_rle`, or `None`.
    """

    where: str
    box: Any
    label: Any
    is_crowd: bool = False
    area: Any = None
    segmentation: Any = None


def add_split(images, split, rows, annotate, problems):
    """Adds a split to a dataset; images that cannot be read are left out.

    Args:
        images: The `Images`.
        split: Name of the split.
        rows: Iterable of (path of an image, its id, its height and width or
            `None` where its file tells, list of its objects).
        annotate: Function from such a path, objects and size to a list of
            `Annotation`.
        problems: List of `Problem` so far, which gets one for each image and
            annotation that is not as it should be.
    """
    items, count = [], 0
    for path, number, size, objects in rows:
        count += len(objects)
        try:
            size = size or image_size(path)
        except ValueError as error:
            problems.append(Problem(str(path), str(error)))
            continue
        usable = []
        for annotation in annotate(path, objects, size):
            try:
                usable.append(_usable(images, annotation, size, problems))
            except ValueError as error:
                problems.append(Problem(annotation.where, str(error)))
        items.append(_make_item(images, path, number, size, usable))
    images.items[split], images.problems[split] = items, problems
    images.annotations[split] = count
    images.__post_init__()


def _make_item(images, path, number, size, rows):
    """An `Item` of what `_usable` gives of its annotations."""
    boxes, labels, crowds, areas, masks = (
        zip(*rows, strict=True) if rows else [()] * 5
    )
    return Item(
        path=str(path),
        id=number,
        size=(int(size[0]), int(size[1])),
        boxes=np.float64(boxes).reshape(-1, 4),
        classes=np.int32(labels).reshape(-1),
        is_crowd=np.array(crowds, bool),
        areas=np.float64(areas).reshape(-1),
        masks=list(masks) if images.has_masks else None,
    )


def _usable(images, annotation, size, problems):
    """Box, class, crowd, area and mask of an annotation that can be used."""
    where, box, label, is_crowd, given_area, segmentation = annotation
    if label is None:
        raise ValueError("an unknown class")
    try:
        box = np.float64(box).reshape(4)
    except (TypeError, ValueError):
        raise ValueError("a box that is no four numbers") from None
    if not np.isfinite(box).all():
        raise ValueError("a box that is not finite")
    try:
        given_area = None if given_area is None else float(given_area)
    except (TypeError, ValueError):
        raise ValueError("an area that is no number") from None
    if given_area is not None and not np.isfinite(given_area):
        raise ValueError("an area that is not finite")
    width, height = box[2:] - box[:2]
    if (
        width <= 0
        or height <= 0
        or (given_area is not None and given_area <= 0)
    ):
        raise ValueError("an area of zero")
    limits = np.array([size[1], size[0]] * 2)
    inside = np.clip(box, 0, limits)
    if (inside[2:] <= inside[:2]).any():
        raise ValueError("outside of its image")
    if np.abs(inside - box).max() > 1:
        problems.append(Problem(where, "partly outside of its image", True))
    mask = None
    if images.has_masks:
        if not segmentation:
            raise ValueError("no mask")
        mask = to_rle(segmentation, size)
        if images.thorough and crosses_itself(segmentation):
            problems.append(Problem(where, "a self-crossing polygon", True))
    if given_area is None:
        given_area = coco_mask.area(mask).item() if mask else width * height
    return box, label, bool(is_crowd), given_area, mask


def crosses_itself(segmentation):
    """Tells whether two sides of a polygon cross.

    Args:
        segmentation: As of `masks.to_rle`.

    Returns:
        Boolean; `False` for run lengths.
    """
    if isinstance(segmentation, dict):
        return False
    for polygon in segmentation:
        points = np.float64(polygon).reshape(-1, 2)
        points = points[np.any(points != np.roll(points, 1, 0), axis=1)]
        if len(points) < 4:
            continue
        after = np.roll(points, -1, 0)
        side = after - points

        def turn(ends, points=points, side=side):
            """On which side of each line each point is, `(lines, points)`."""
            to = ends[None] - points[:, None]
            return np.sign(
                side[:, None, 0] * to[..., 1] - side[:, None, 1] * to[..., 0]
            )

        splits = turn(points) * turn(after) < 0
        if (splits & splits.T).any():
            return True
    return False


def image_size(path):
    """Reads the size of an upright image from its header.

    Args:
        path: Path of an image file.

    Returns:
        Height and width.

    Raises:
        ValueError: If it is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(0x0112) in TURNED:
                width, height = height, width
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"no image that can be read: {error}") from None
    return height, width
