"""Images to compare an artifact with its model on."""

import io

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


def checked_pixels(images, shape=(None, None, None), argument="images"):
    """Checks images.

    Args:
        images: Array of images, as the user gave it.
        shape: `(height, width, channels)`, `None` where any size goes.
        argument: Name of the argument, a string.

    Returns:
        Float32 array `(images, height, width, channels)` in [0, 255].

    Raises:
        ValueError: If they are of another shape, none, or no pixels.
    """
    images = np.asarray(images)
    if (
        images.dtype.kind not in "uif"
        or images.ndim != 4
        or not images.size
        or any(
            size not in (None, given)
            for size, given in zip(shape, images.shape[1:], strict=True)
        )
        or not (images.min() >= 0 and images.max() <= 255)  # NaN is neither
    ):
        between = ""
        if images.dtype.kind in "uif" and images.size:
            between = f", from {images.min()} to {images.max()}"
        raise ValueError(
            f"`{argument}` must be pixels in [0, 255] of shape "
            f"{(None, *shape)}. Received: an array of {images.dtype} of shape "
            f"{images.shape}{between}"
        )
    return images.astype("float32", copy=False)


def checked_images(images, shape, argument="images"):
    """Checks images, see `checked_pixels`, and rounds them to whole pixels."""
    return np.round(checked_pixels(images, shape, argument))


def encoded(pixels, kind="PNG") -> bytes:
    """Makes the content of an image file.

    `pixels` are whole numbers in [0, 255], `(height, width)` or `(height,
    width, channels)`; `kind` is Pillow's name of the format.
    """
    pixels = np.asarray(pixels, "uint8")
    if pixels.shape[2:] == (1,):
        pixels = pixels[..., 0]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def framed(pixels, reader) -> bytes:
    """Makes a PNG file of which an `ImageReader` crops these very pixels."""
    height, width = reader.size
    frame = np.zeros((*reader.resized_size, reader.channels), "uint8")
    top, left = (
        round((whole - side) / 2)
        for whole, side in zip(frame.shape, reader.size, strict=False)
    )
    frame[top : top + height, left : left + width] = pixels
    return encoded(frame)
