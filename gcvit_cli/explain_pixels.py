"""The page that `gcvit explain` writes of a segmenter."""

import numpy as np

from gcvit_cli.console import quietly
from gcvit_cli.explain_page import (
    class_number,
    last_maps,
    opened,
    png,
    rendered,
    with_chosen,
)

TOP = 5
"""Classes that are named and explained."""


def page(network, image, choice, path, name, asked):
    """Writes the page of a segmenter: see `explain_classes.page`."""
    from gcvit_keras.explain import pixel_cam
    from gcvit_keras.segmentation import SegmentationReader, draw_classes

    reader = SegmentationReader.of(path) or SegmentationReader()
    picture_file, names = opened(
        image, choice, path, reader, network.output_shape[-1]
    )
    chosen = class_number(asked, names)
    with quietly():
        pixels = _resized(picture_file, reader)
        (classes,) = network.segment([pixels], short_side=None)
        counts = np.bincount(classes.ravel(), minlength=len(names))
        best = np.argsort(-counts, kind="stable")[:TOP]
        rows, first = with_chosen(best[counts[best] > 0], chosen)
        cams = pixel_cam(network, pixels, rows)
        maps = last_maps(network, pixels)
    shares = counts / classes.size
    drawn = draw_classes(pixels, classes, names)
    photo = png(drawn[: pixels.shape[0]])  # maps lie over it, not the legend
    return rendered(
        image=image.name,
        model=name,
        size=pixels.shape[:2],
        photo=photo,
        kind="class",
        what="share of the pixels",
        rows=[(names[k], f"{shares[k]:.1%}", shares[k]) for k in rows],
        cams=cams,
        first=first,
        cam_title="Grad-CAM of the pixels of a class",
        cam_of="these are of the map that the classifier reads, a quarter of "
        "the image",
        maps=maps,
    )


def _resized(image, reader):
    """The image as the network takes it, a uint8 array."""
    from gcvit_keras.images.sides import resized_sides

    size = resized_sides(image.size, reader.short_side, reader.long_side)
    return np.asarray(image.resize(size.astype(int).tolist(), 2))  # bilinear
