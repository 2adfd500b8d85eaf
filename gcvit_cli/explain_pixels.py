"""The page that `gcvit explain` writes of a segmenter."""

import numpy as np

from gcvit_cli.console import quietly
from gcvit_cli.explain_page import last_maps, opened, png, rendered

TOP = 5
"""Classes that are named and explained."""


def page(network, image, choice, path, name):
    """Writes the page of a segmenter.

    Args:
        network: The segmenter.
        image: Path of the image file.
        choice: `gcvit_cli.choice.Choice`.
        path: Path of the model.
        name: What the model is called.

    Returns:
        HTML.

    Raises:
        ValueError: If the image cannot be used.
    """
    from gcvit_keras.explain import pixel_cam
    from gcvit_keras.segmentation import SegmentationReader, draw_classes

    reader = SegmentationReader.of(path) or SegmentationReader()
    picture_file, names = opened(
        image, choice, path, reader, network.output_shape[-1]
    )
    with quietly():
        pixels = _resized(picture_file, reader)
        (classes,) = network.segment([pixels], short_side=None)
        found, counts = np.unique(classes, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:TOP]
        shares = counts[order] / classes.size
        cams = pixel_cam(network, pixels, [int(k) for k in found[order]])
        maps = last_maps(network, pixels)
    titles = [names[k] for k in found[order]]
    drawn = draw_classes(pixels, classes, names)
    photo = png(drawn[: pixels.shape[0]])  # maps lie over it, not the legend
    return rendered(
        image=image.name,
        model=name,
        size=pixels.shape[:2],
        photo=photo,
        kind="class",
        what="share of the pixels",
        rows=[
            (title, f"{share:.1%}", float(share))
            for title, share in zip(titles, shares, strict=True)
        ],
        cams=cams,
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
