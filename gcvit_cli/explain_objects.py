"""The page that `gcvit explain` writes of a detector."""

import numpy as np

from gcvit_cli.console import UsageError, quietly
from gcvit_cli.explain_page import last_maps, opened, png, rendered

TOP = 5
"""Objects that are named and explained."""


def page(network, image, choice, path, name, box):
    """Writes the page of a detector: see `explain_classes.page`.

    `box` is the number of the object that comes first, from 1, or `None`.
    Raises a `UsageError` if there are fewer, a `ValueError` if the image cannot
    be used, or nothing is found in it.
    """
    from gcvit_keras.detection import DetectionReader, draw_detections
    from gcvit_keras.explain import box_cam

    reader = DetectionReader.of(path) or DetectionReader()
    picture_file, names = opened(
        image, choice, path, reader, network.num_classes
    )
    with quietly():
        pixels, found = _detected(network, np.asarray(picture_file), reader)
        count = len(found["scores"])
        if not count:
            raise ValueError(f"{choice.name} finds nothing in {image}")
        if (box or 1) > count:
            raise UsageError(f"--box {box}: {count} objects are found")
        order = [(box or 1) - 1]
        order += [i for i in range(count) if i != order[0]][: TOP - 1]
        found = {k: v[order] for k, v in found.items()}
        cams = box_cam(network, pixels, found["boxes"], found["classes"])
        maps = last_maps(network, pixels)
    titles = [
        f"{i + 1}. {names[k]}"
        for i, k in zip(order, found["classes"], strict=True)
    ]
    photo = png(draw_detections(pixels, found, names))
    return rendered(
        image=image.name,
        model=name,
        size=pixels.shape[:2],
        photo=photo,
        kind="object",
        what="score",
        rows=[
            (title, f"{score:.1%}", float(score))
            for title, score in zip(titles, found["scores"], strict=True)
        ],
        cams=cams,
        cam_title="Grad-CAM of a box’s score",
        cam_of="these are of the last block of the level that the box is read "
        "from, level 0 for small ones to level 3 for large ones",
        maps=maps,
    )


def _detected(network, pixels, reader):
    """The image as the network takes it, padded, and detections in it."""
    from gcvit_keras.detection.results import (
        DIVISOR,
        resize_image,
        resized_size,
    )
    from gcvit_keras.weights.presets import PIXEL_MEAN

    sides = reader.short_side, reader.long_side
    (found,) = network.detect([pixels], 1, *sides)
    del found["masks"]  # of the file's size
    size = resized_size(*pixels.shape[:2], *sides)
    factors = [size[1] / pixels.shape[1], size[0] / pixels.shape[0]] * 2
    found["boxes"] = found["boxes"] * np.array(factors, "float32")
    padded = [-(-side // DIVISOR) * DIVISOR for side in size]
    whole = np.empty((*padded, 3), "uint8")
    whole[:] = np.round(PIXEL_MEAN)
    whole[: size[0], : size[1]] = resize_image(pixels, size)
    return whole, found
