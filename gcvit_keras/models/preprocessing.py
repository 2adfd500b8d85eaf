"""ImageNet's mean and deviation, and what `keras.applications` modules have."""

import math
import os

import keras
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gcvit_keras.weights.presets import IMAGENET_MEAN, IMAGENET_STD


def normalization(name):
    """Layer that takes RGB pixels in [0, 255] to the models' input range."""
    return keras.layers.Normalization(
        mean=[255 * m for m in IMAGENET_MEAN],
        variance=[(255 * s) ** 2 for s in IMAGENET_STD],
        name=name,
    )


def preprocess_input(x, data_format=None):
    """Returns `x`: the models normalise inside, as ConvNeXt does in Keras.

    Args:
        x: Images with pixels in [0, 255], array or tensor.
        data_format: Accepted for symmetry with `keras.applications`; unused.

    Returns:
        `x`.
    """
    return x


def decode_predictions(preds, top=5):
    """Names the most probable ImageNet classes of each image.

    Args:
        preds: Array `(images, 1000)` of scores.
        top: How many classes an image.

    Returns:
        A list an image of `(WordNet id, name, score)`, best first.

    Raises:
        ValueError: If `preds` is not of shape `(images, 1000)`.
    """
    return keras.applications.imagenet_utils.decode_predictions(preds, top)


def load_image(path, size, crop_ratio=1.0, channels=3) -> np.ndarray:
    """Reads an image file as the published evaluation does, with Pillow.

    The shorter side is resized to `size / crop_ratio` (bicubic, antialiased),
    then the centre is cropped.

    Args:
        path: Path of an image file that Pillow reads. EXIF rotation is
            applied, 16-bit grey scaled to 8.
        size: Side of the result in pixels, or `(height, width)`.
        crop_ratio: Share of the resized image that is kept, in (0, 1].
        channels: 1 for grey, 3 for RGB, 4 for RGB and alpha.

    Returns:
        Uint8 array `(height, width, channels)`.

    Raises:
        ValueError: If the file is missing or no whole image, or an argument
            is out of range; the message names the file.
    """
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise ValueError(
            f"`channels` must be 1, 3 or 4. Received: channels={channels}"
        )
    if not 0 < crop_ratio <= 1:
        raise ValueError(
            f"`crop_ratio` must be in (0, 1]. Received: crop_ratio={crop_ratio}"
        )
    path = os.fspath(path)
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file")
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        raise ValueError(f"{path}: not a file")
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode == "F":
                raise ValueError("float pixels, of which no range is known")
            if image.mode.startswith("I"):  # 16-bit grey; convert() clips it
                image = Image.fromarray(
                    (np.asarray(image) >> 8).astype("uint8")
                )
            image = image.convert(modes[channels])
    except UnidentifiedImageError:
        raise ValueError(
            f"{path}: not a readable image: of no format that Pillow knows"
        ) from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError and more.
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path}: not a readable image: {reason}") from error
    height, width = (size, size) if isinstance(size, int) else size
    # The crop has to fit whatever the image's shape.
    scale = max(
        math.floor(height / crop_ratio) / image.height,
        math.floor(width / crop_ratio) / image.width,
    )
    # The whole part, as torchvision takes; the shorter side is whole
    # already, but for rounding.
    resized = (
        max(width, int(image.width * scale + 1e-6)),
        max(height, int(image.height * scale + 1e-6)),
    )
    if resized[0] * resized[1] > Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f"{path}: an image of {image.width} x {image.height} is too "
            f"elongated to be resized to {width} x {height} at a crop ratio "
            f"of {crop_ratio}"
        )
    image = image.resize(resized, Image.Resampling.BICUBIC)
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    cropped = image.crop((left, top, left + width, top + height))
    return np.asarray(cropped).reshape(height, width, channels)
