"""Checks of a client's arguments.

Not `gcvit_keras.checks`: that imports Keras, which takes seconds.
"""

import numbers
import os
import re
import ssl

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

    They are `None` or `False` for no encryption, `True` for the system's, or
    the path of a PEM file. Returns `None`, `True`, or the path.
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
