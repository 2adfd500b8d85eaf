"""Checks of a client's arguments.

Not `gcvit_keras.checks`: that imports Keras, which takes seconds.
"""

import numbers
import os
import re
import ssl

import numpy as np

HOST = r"([\w-]{1,63}\.)*[\w-]{1,63}|\[[0-9a-fA-F:.]+\]"
"""A name, or an address of IPv4 or, in brackets, IPv6."""


def check(argument, is_accepted, accepted, value):
    """Raises the `ValueError` of an argument that is not accepted."""
    if not is_accepted:
        raise ValueError(
            f"`{argument}` must be {accepted}. Received: {argument}={value!r}"
        )


def integer(argument, value, least, most) -> int:
    """Checks an integer; numpy's are accepted, booleans are not."""
    is_integer = isinstance(value, numbers.Integral)
    check(
        argument,
        is_integer and not isinstance(value, bool) and least <= value <= most,
        f"an integer from {least} to {most}",
        value,
    )
    return int(value)


def is_address(value) -> bool:
    """Tells `host:port`."""
    host, _, port = str(value).rpartition(":")
    is_port = re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 2**16
    return bool(re.fullmatch(HOST, host) and is_port)


def is_name(value) -> bool:
    """Tells a string that is not empty."""
    return isinstance(value, str) and value != ""


def is_token(value) -> bool:
    """Tells what may be the value of a header."""
    return isinstance(value, str) and bool(re.fullmatch(r"[!-~]+", value))


def certificates(tls):
    """Checks root certificates.

    Args:
        tls: `None` or `False` for no encryption, `True` for the system's, or
            the path of a PEM file.

    Returns:
        `None`, `True`, or the path.

    Raises:
        ValueError: If it is none of these.
    """
    if tls is None or tls is False or tls is True:
        return tls or None
    try:
        # Empty, it would mean that anyone is trusted.
        if not isinstance(tls, (str, os.PathLike)) or not str(tls):
            raise ValueError("no path")
        ssl.create_default_context(cafile=tls)
    except (OSError, ValueError) as error:
        accepted = f"True or the path of a PEM file of certificates ({error})"
        check("tls", False, accepted, tls)
    return tls


def checked_pixels(images) -> np.ndarray:
    """Checks images given as pixels.

    Args:
        images: Array of numbers `(batch, height, width, channels)`, in
            [0, 255].

    Returns:
        Float32 array.

    Raises:
        ValueError: If it is anything else.
    """
    images = np.asarray(images)
    if images.dtype.kind not in "uif":
        raise ValueError(
            "`images` must hold numbers, as uint8 or float32. "
            f"Received: an array of {images.dtype}"
        )
    if images.ndim != 4 or not images.size:
        raise ValueError(
            "`images` must be (batch, height, width, channels), none of them "
            f"0. Received: an array of shape {images.shape}"
        )
    images = images.astype("float32", copy=False)
    lowest, highest = images.min(), images.max()
    if not (lowest >= 0 and highest <= 255):  # so that NaN fails
        raise ValueError(
            "`images` must hold pixels in [0, 255]. "
            f"Received: values from {lowest} to {highest}"
        )
    return images
