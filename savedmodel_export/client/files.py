"""Image files: how they are sent, and the rows that come back for them."""

import os
from collections.abc import Iterable
from pathlib import Path

from gcvit_export.client.errors import (
    InvalidImageError,
    MessageTooLargeError,
    ServingError,
)

BYTES = (bytes, bytearray, memoryview)


def read_files(images):
    """Reads image files.

    Args:
        images: What the user gave: a list of bytes and paths.

    Returns:
        Two dicts by place: the contents, and an `InvalidImageError` for each
        file that cannot be read; and the list of what messages call them.

    Raises:
        ValueError: If `images` is empty or holds anything else.
    """
    single = (*BYTES, str, os.PathLike)
    if isinstance(images, single) or not isinstance(images, Iterable):
        listed = []
    else:
        listed = list(images)
    if not listed:
        raise ValueError(
            "`images` must be a list of at least one image. "
            f"Received: {type(images).__name__} {images!r:.60}"
        )
    contents, errors = {}, {}
    for i, image in enumerate(listed):
        if not isinstance(image, single):
            raise ValueError(
                "`images` must hold bytes or paths of files. Received "
                f"among them: {type(image).__name__} {image!r:.60}"
            )
        if isinstance(image, BYTES):
            contents[i] = bytes(image)
            continue
        try:
            contents[i] = Path(image).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL
            reason = getattr(error, "strerror", None) or error
            errors[i] = InvalidImageError(f"{image} cannot be read: {reason}")
    names = [
        f"image {i}" if isinstance(image, BYTES) else image
        for i, image in enumerate(listed)
    ]
    return contents, errors, names


def rows_of(answer):
    """Splits an answer into a dict per image, or the error in its place."""
    if isinstance(answer, ServingError):
        return [answer]
    return [
        {name: values[row] for name, values in answer.items()}
        for row in range(len(answer["valid"]))
    ]


def error_of(name, row):
    """Makes the `ServingError` of an image, or `None` where there is an answer.

    `name` is what messages call the image, `row` what `rows_of` returns.
    """
    if isinstance(row, MessageTooLargeError):
        return MessageTooLargeError(f"{name}: {row}")
    if isinstance(row, ServingError):
        reason = f"{name} was refused: {first_line(row)}"
        return InvalidImageError(reason, row.code)
    if not row["valid"]:
        return InvalidImageError(f"{name} is no image that can be decoded")
    return None


def first_line(error):
    """The first line of a message; TensorFlow's have a trace below it."""
    return str(error).split("\n")[0]
