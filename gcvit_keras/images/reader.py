"""How image files become a model's input, and where that is written down."""

import dataclasses
import math
import os

import numpy as np

from gcvit_keras import checks
from gcvit_keras.images import load
from gcvit_keras.images.settings import SavedSettings

MAX_PIXELS = 89_478_485
"""Height times width of the largest image that is read by default."""


@dataclasses.dataclass(frozen=True)
class ImageReader(SavedSettings):
    """Reads image files as timm's and the published evaluations do.

    A run of `gcvit train`, and every export, has one in a file beside the
    model, so that whoever uses the model reads images as its evaluation did.

    Args:
        size: Side of the result in pixels, or `(height, width)`.
        crop_ratio: Share of the resized image that is kept, in (0, 1].
        crop_mode: What is resized to `size / crop_ratio` before the centre
            is cropped: `"center"` for the shorter side, keeping the aspect
            ratio, `"squash"` for each side.
        interpolation: `"bilinear"`, `"bicubic"` or `"lanczos"`, all with
            antialiasing, or `"nearest"`, with Pillow only.
        max_pixels: Height times width above which an image is refused, before
            it is decoded, as is one so elongated that its resizing takes more.
            It takes the place of Pillow's own limit.
        channels: 1 for grey, 3 for RGB, 4 for RGB and alpha, with Pillow only.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
    >>> import io
    >>> from PIL import Image
    >>> from gcvit_keras import ImageReader
    >>> reader = ImageReader(224, crop_ratio=0.875)
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
    >>> reader.read(file.getvalue()).shape
    (224, 224, 3)
    """

    FILE = "image_reader.json"

    size: int | tuple[int, int]
    crop_ratio: float = 1.0
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    max_pixels: int = MAX_PIXELS
    channels: int = 3

    def __post_init__(self):
        """Checks the settings, and makes `size` a pair."""
        ratio = checks.number(
            "crop_ratio", self.crop_ratio, "in (0, 1]", lambda r: 0 < r <= 1
        )
        checks.one_of("crop_mode", self.crop_mode, ("center", "squash"))
        checks.one_of("interpolation", self.interpolation, load.INTERPOLATIONS)
        checked = {
            "channels": checks.one_of("channels", self.channels, load.MODES),
            "size": checks.sides("size", self.size),
            "crop_ratio": ratio,
            "max_pixels": checks.integer("max_pixels", self.max_pixels),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        least = self.resized_size
        if math.prod(least) > self.max_pixels:
            raise checks.error(
                "max_pixels",
                "those at least to which every image is resized, "
                f"{least[0]} x {least[1]}",
                self.max_pixels,
            )

    @property
    def resized_size(self) -> tuple:
        """`(height, width)` of which `size` is cropped: `size / crop_ratio`."""
        # Rounded down, as torchvision and timm do; `min` keeps out infinity.
        return tuple(
            math.floor(min(side / self.crop_ratio, 2**53)) for side in self.size
        )

    def read(self, path_or_bytes) -> np.ndarray:
        """Reads an image file with Pillow.

        Args:
            path_or_bytes: Path of an image file, or its content, of any
                format that Pillow reads. EXIF rotation is applied, 16-bit grey
                scaled to 8; of an animation it is the first frame.

        Returns:
            Uint8 array `(height, width, channels)`.

        Raises:
            ValueError: If the file is missing, no whole image or too large;
                the message names it.
        """
        return load.read(path_or_bytes, self)

    def read_in_graph(self, encoded, trusted=False):
        """Reads an encoded image in TensorFlow operations.

        To a grey level the pixels are those of `read`. An operation fails
        where the image is broken, too large or of another format:
        `gcvit_keras.images.graph.or_grey` catches that.

        Args:
            encoded: Scalar string tensor, the content of a JPEG, PNG, WebP or
                BMP file.
            trusted: Whether GIF is read, too, which may be larger than its
                header says.

        Returns:
            Float32 tensor `(height, width, channels)` of whole numbers in
            [0, 255].

        Raises:
            ValueError: For an interpolation or channels that Pillow only has.
        """
        from gcvit_keras.images import graph

        return graph.read(encoded, self, trusted)


def load_image(
    path_or_bytes,
    size,
    crop_ratio=1.0,
    crop_mode="center",
    interpolation="bicubic",
    *,
    channels=3,
    max_pixels=MAX_PIXELS,
) -> np.ndarray:
    """Reads an image file: `ImageReader(size, ...).read(path_or_bytes)`.

    Args:
        path_or_bytes: Path of an image file, or its content, of any format
            that Pillow reads.
        size: Side of the result in pixels, or `(height, width)`.
        crop_ratio: Share of the resized image that is kept, in (0, 1].
        crop_mode: `"center"` or `"squash"`.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"` or `"lanczos"`.
        channels: 1 for grey, 3 for RGB, 4 for RGB and alpha.
        max_pixels: Height times width above which an image is refused.

    Returns:
        Uint8 array `(height, width, channels)`.

    Raises:
        ValueError: If the file is missing, no whole image or too large, or an
            argument is out of range; the message names the file.

    Examples:
    >>> import io
    >>> from PIL import Image
    >>> from gcvit_keras import load_image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480), "red").save(file, "PNG")
    >>> load_image(file.getvalue(), (96, 128), crop_ratio=0.9).shape
    (96, 128, 3)
    """
    reader = ImageReader(
        size, crop_ratio, crop_mode, interpolation, max_pixels, channels
    )
    return reader.read(path_or_bytes)


def as_pixels(image, name):
    """Makes an array `(height, width, 3)` of an image that a user passes.

    That is an array of RGB pixels in [0, 255], one `(height, width)` of grey
    ones, or a path. Raises a `ValueError` by `name` if it is none of these or
    cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        _, image = load.open_image(image, channels=3, max_pixels=MAX_PIXELS)
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        accepted = "a path, or of shape (height, width, 3), with pixels"
        raise checks.error(name, accepted, image.shape)
    if image.dtype.kind not in "buif":
        raise checks.error(name, "of numbers", image.dtype)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"`{name}` must be finite numbers.")
    return image


def each_as_pixels(images):
    """Yields `as_pixels` of each image in a list that a user passes.

    Raises a `ValueError` if it is no list, or one of them no image.
    """
    if isinstance(images, (str, os.PathLike)) or getattr(images, "ndim", 4) < 4:
        raise checks.error("images", "a list of images", type(images).__name__)
    for i, image in enumerate(images):
        yield as_pixels(image, f"images[{i}]")
