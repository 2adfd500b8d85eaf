"""Reading image files with Pillow."""

import contextlib
import io
import os
import threading

import numpy as np
from PIL import Image, UnidentifiedImageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names of images, by their number of channels."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that makes an image of an EXIF orientation upright."""
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Pillow's filters, by our names; all but `nearest` with antialiasing."""
_LOCK = threading.Lock()
"""Held while Pillow's limit, which is the whole process's, is another."""


def read(path_or_bytes, reader) -> np.ndarray:
    """Reads, resizes and crops an image file; see `ImageReader.read`."""
    name, image = open_image(path_or_bytes, reader.channels, reader.max_pixels)
    height, width = reader.size
    scaled_height, scaled_width = reader.resized_size
    if reader.crop_mode == "center":
        # The crop has to fit whatever the image's shape.
        ratio = max(scaled_height / image.height, scaled_width / image.width)
        # torchvision truncates where the crop is square (the shorter side is
        # whole but for rounding), timm rounds where it is not.
        whole = round if height != width else _truncate
        scaled_height = max(height, whole(image.height * ratio))
        scaled_width = max(width, whole(image.width * ratio))
    if scaled_width * scaled_height > reader.max_pixels:
        raise ValueError(
            f"{name}: {image.width} x {image.height} would have to be resized "
            f"to {scaled_width} x {scaled_height}, over the limit of "
            f"{reader.max_pixels} pixels: the image is too elongated or "
            "`size` too large"
        )
    image = image.resize(
        (scaled_width, scaled_height), INTERPOLATIONS[reader.interpolation]
    )
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    cropped = image.crop((left, top, left + width, top + height))
    return np.array(cropped).reshape(height, width, reader.channels)


def _truncate(value):
    return int(value + 1e-6)


def open_image(path_or_bytes, channels, max_pixels):
    """Opens an image file, of a path or its content, as a whole and upright.

    Returns its name in messages, and a `PIL.Image.Image` of 1, 3 or 4 channels.
    Raises a `ValueError` that names the file if it is missing, no whole image,
    or of more pixels than `max_pixels`, before it is decoded.
    """
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
        with _pillow_allows(max_pixels):
            image = Image.open(file)
        with image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ValueError(
                    f"{image.width} x {image.height} is over the limit of "
                    f"{max_pixels} pixels"
                )
            with _pillow_allows(pixels):
                image = _upright(image)
            if image.mode == "F":
                raise ValueError("float pixels, of which no range is known")
            if image.mode.startswith("I"):  # 16-bit grey; convert() clips it
                deep = np.asarray(image)
                if deep.min() < 0 or deep.max() > 65535:
                    raise ValueError("integers of more than 16 bits")
                image = Image.fromarray((deep >> 8).astype("uint8"))
            return name, image.convert(MODES[channels])
    except UnidentifiedImageError:
        raise ValueError(
            f"{name}: not a readable image: of no format that Pillow knows"
        ) from None
    except Image.DecompressionBombError:  # Pillow's limit, far over ours
        raise ValueError(
            f"{name}: not a readable image: over the limit of {max_pixels} "
            "pixels"
        ) from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError and more.
        reason = str(error).split("\n")[0]
        raise ValueError(f"{name}: not a readable image: {reason}") from error


@contextlib.contextmanager
def _pillow_allows(pixels):
    """Keeps Pillow from refusing so many pixels, for the time of the `with`.

    Pillow looks at its limit when it opens a file and, of some formats, when
    it decodes it.
    """
    with _LOCK:
        limit = Image.MAX_IMAGE_PIXELS
        is_lifted = limit is not None and limit < pixels
        if is_lifted:
            Image.MAX_IMAGE_PIXELS = pixels
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    if not is_lifted:
        yield


def _upright(image):
    """Turns an image as its EXIF data says; broken data says nothing."""
    image.load()  # or a PNG's data behind its pixels are not seen
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # Pillow raises SyntaxError, struct.error and more
        orientation = 1
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
