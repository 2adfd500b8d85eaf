"""Real photographs to compare an artefact with its model on."""

import numpy as np
from PIL import Image

COUNT = 8
"""Photographs that an export is verified on."""


def photographs(height, width, channels=3, count=COUNT) -> np.ndarray:
    """Parts of the two photographs that scikit-learn ships.

    Args:
        height: Of each, in pixels.
        width: Of each, in pixels.
        channels: 1 for grey, 3 for RGB, 4 for RGB and an opaque alpha; with
            another number, channels beyond RGB repeat.
        count: How many; every call gives the same ones.

    Returns:
        Float32 array `(count, height, width, channels)` of whole numbers in
        [0, 255].
    """
    from sklearn.datasets import load_sample_images  # takes a second

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    generator = np.random.default_rng(0)
    parts = []
    for i in range(count):
        photo = photos[i % len(photos)]
        side = int(generator.integers(photo.height // 3, photo.height))
        left = int(generator.integers(0, photo.width - side + 1))
        top = int(generator.integers(0, photo.height - side + 1))
        part = photo.resize(
            (width, height),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        if channels == 1:
            part = part.convert("L")
        elif channels == 4:
            part = part.convert("RGBA")
        parts.append(np.array(part).reshape(height, width, -1))
    images = np.stack(parts).astype("float32")
    return images[..., np.arange(channels) % images.shape[-1]]
