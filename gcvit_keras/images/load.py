"""Reading image files with Pillow."""

import io
import math
import numbers
import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def load_image(
    path_or_bytes,
    size,
    crop_ratio=1.0,
    crop_mode="center",
    interpolation="bicubic",
    *,
    channels=3,
) -> np.ndarray:
    """Reads an image as timm's and the published evaluations do, with Pillow.

    Args:
        path_or_bytes: Path of an image file, or its content, of any format
            that Pillow reads. EXIF rotation is applied, 16-bit grey scaled to
            8; of an animation it is the first frame.
        size: Side of the result in pixels, or `(height, width)`.
        crop_ratio: Share of the resized image that is kept, in (0, 1].
        crop_mode: What is resized to `size / crop_ratio` before the centre
            is cropped: `"center"` for the shorter side, keeping the aspect
            ratio, `"squash"` for each side.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"` or `"lanczos"`,
            with antialiasing.
        channels: 1 for grey, 3 for RGB, 4 for RGB and alpha.

    Returns:
        Uint8 array `(height, width, channels)`.

    Raises:
        ValueError: If the file is missing or no whole image, or an argument
            is out of range; the message names the file.
    """
    for argument, value, accepted in (
        ("channels", channels, MODES),
        ("crop_mode", crop_mode, ("center", "squash")),
        ("interpolation", interpolation, INTERPOLATIONS),
    ):
        if value not in list(accepted):
            raise ValueError(
                f"`{argument}` must be one of {list(accepted)}. "
                f"Received: {argument}={value!r}"
            )
    if not isinstance(crop_ratio, numbers.Real) or not 0 < crop_ratio <= 1:
        raise ValueError(
            "`crop_ratio` must be in (0, 1]. "
            f"Received: crop_ratio={crop_ratio!r}"
        )
    height, width = _height_and_width(size)
    name, image = _open(path_or_bytes, MODES[channels])
    # The whole part, as torchvision and timm take.
    scaled_height = math.floor(height / crop_ratio)
    scaled_width = math.floor(width / crop_ratio)
    if crop_mode == "center":
        # The crop has to fit whatever the image's shape.
        ratio = max(scaled_height / image.height, scaled_width / image.width)
        # torchvision truncates where the crop is square (the shorter side is
        # whole but for rounding), timm rounds where it is not.
        whole = round if height != width else _truncate
        scaled_height = max(height, whole(image.height * ratio))
        scaled_width = max(width, whole(image.width * ratio))
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and scaled_width * scaled_height > limit:
        raise ValueError(
            f"{name}: {image.width} x {image.height} would have to be resized "
            f"to {scaled_width} x {scaled_height}, over Pillow's limit of "
            f"{limit} pixels: the image is too elongated or `size` too large"
        )
    image = image.resize(
        (scaled_width, scaled_height), INTERPOLATIONS[interpolation]
    )
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    cropped = image.crop((left, top, left + width, top + height))
    return np.array(cropped).reshape(height, width, channels)


def _truncate(value):
    return int(value + 1e-6)


def _height_and_width(size):
    single = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    sides = (size, size) if single else size
    try:
        height, width = sides
        if height >= 1 and width >= 1 and height % 1 == width % 1 == 0:
            return int(height), int(width)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        "`size` must be a positive integer or (height, width). "
        f"Received: size={size!r}"
    )


def _open(path_or_bytes, mode):
    """What to call the image, and the image in that mode."""
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        name = f"image of {len(path_or_bytes)} bytes"
        file = io.BytesIO(path_or_bytes)
    else:
        try:
            name = file = os.fspath(path_or_bytes)
        except TypeError:
            raise ValueError(
                "`path_or_bytes` must be a path or the bytes of an image. "
                f"Received: {type(path_or_bytes)}"
            ) from None
        if not os.path.exists(file):
            raise ValueError(f"{name}: no such file")
        if not os.path.isfile(file):  # opening a pipe would wait for ever
            raise ValueError(f"{name}: not a file")
    try:
        with Image.open(file) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode == "F":
                raise ValueError("float pixels, of which no range is known")
            if image.mode.startswith("I"):  # 16-bit grey; convert() clips it
                deep = np.asarray(image)
                if deep.min() < 0 or deep.max() > 65535:
                    raise ValueError("integers of more than 16 bits")
                image = Image.fromarray((deep >> 8).astype("uint8"))
            return name, image.convert(mode)
    except UnidentifiedImageError:
        raise ValueError(
            f"{name}: not a readable image: of no format that Pillow knows"
        ) from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError and more.
        reason = str(error).split("\n")[0]
        raise ValueError(f"{name}: not a readable image: {reason}") from error
