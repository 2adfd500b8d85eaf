"""Checks of arguments, with one form of message for the whole project.

Every check is given the name of an argument, a string, and the value that was
received. It returns the value, as Python's own type, or raises a `ValueError`
"`argument` must be ... Received: argument=...", as Keras words it; `accepted`
is the text after "must be", such as `"in (0, 1]"`.
"""

import math
import numbers

import keras
import numpy as np


def error(argument, accepted, value) -> ValueError:
    """Makes the error of an argument that is not accepted, to be raised.

    Examples:
    >>> from gcvit_keras import checks
    >>> print(checks.error("top", "a positive integer", 0))
    `top` must be a positive integer. Received: top=0
    """
    return ValueError(
        f"`{argument}` must be {accepted}. Received: {argument}={value!r}"
    )


def is_integer(value) -> bool:
    """Tells whether a value is an integer (numpy's, too) and no boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def integer(argument, value, least=1, most=math.inf) -> int:
    """Checks an integer from `least` to `most`, numpy's, too; no boolean."""
    if not is_integer(value) or not least <= value <= most:
        names = {0: "a non-negative integer", 1: "a positive integer"}
        accepted = names.get(least, f"an integer of at least {least}")
        if most < math.inf:
            accepted = f"an integer from {least} to {most}"
        raise error(argument, accepted, value)
    return int(value)


def sides(argument, value) -> tuple[int, int]:
    """Checks a size: a positive integer, or `(height, width)` of such.

    Examples:
    >>> from gcvit_keras import checks
    >>> checks.sides("window_size", 7), checks.sides("window_size", [10, 6])
    ((7, 7), (10, 6))
    """
    try:
        height, width = value if np.iterable(value) else (value, value)
        return integer(argument, height), integer(argument, width)
    except ValueError:
        accepted = "a positive integer or (height, width)"
        raise error(argument, accepted, value) from None


def number(argument, value, accepted, is_accepted) -> float:
    """Checks a real, finite number of which `is_accepted` is true."""
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or not np.isfinite(value)
        or not is_accepted(value)
    ):
        raise error(argument, accepted, value)
    return float(value)


def one_of(argument, value, choices):
    """Checks that a value is one of a few, an iterable."""
    choices = list(choices)
    plain = value.item() if isinstance(value, np.generic) else value
    # An array compared with a string is no boolean.
    if not any(type(plain) is type(c) and plain == c for c in choices):
        raise error(argument, f"one of {choices}", value)
    return plain


def tensorflow_backend(what):
    """Checks that Keras computes with TensorFlow.

    Raises a `ValueError`, of which `what`, such as a function's name, is the
    subject.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"{what} needs Keras's TensorFlow backend: set KERAS_BACKEND="
            f"tensorflow. Received: KERAS_BACKEND={backend}"
        )
