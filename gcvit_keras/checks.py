"""Checks of arguments, with one form of message for the whole project.

Every check returns the value, as Python's own type, or raises a `ValueError`
"`argument` must be ... Received: argument=...", as Keras words it.
"""

import numbers

import keras
import numpy as np


def error(argument, accepted, value) -> ValueError:
    """Makes the error of an argument that is not accepted.

    Args:
        argument: Name of the argument, a string.
        accepted: Text after "must be", such as `"a positive integer"`.
        value: The value that was received.

    Returns:
        A `ValueError` to raise.

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


def integer(argument, value, least=1) -> int:
    """Checks an integer of at least `least`; numpy's integers are accepted.

    Args:
        argument: Name of the argument, a string.
        value: The value that was received.
        least: The least value that is accepted, an integer.

    Returns:
        `value` as an `int`.

    Raises:
        ValueError: If `value` is no integer, a boolean, or below `least`.
    """
    if not is_integer(value) or value < least:
        names = {0: "a non-negative integer", 1: "a positive integer"}
        accepted = names.get(least, f"an integer of at least {least}")
        raise error(argument, accepted, value)
    return int(value)


def number(argument, value, accepted, is_accepted) -> float:
    """Checks a real, finite number.

    Args:
        argument: Name of the argument, a string.
        value: The value that was received.
        accepted: Text after "must be", such as `"in (0, 1]"`.
        is_accepted: Function of the number that returns a boolean.

    Returns:
        `value` as a `float`.

    Raises:
        ValueError: If `value` is no finite number, or not accepted.
    """
    if (
        not isinstance(value, numbers.Real)
        or isinstance(value, bool)
        or not np.isfinite(value)
        or not is_accepted(value)
    ):
        raise error(argument, accepted, value)
    return float(value)


def one_of(argument, value, choices):
    """Checks that a value is one of a few.

    Args:
        argument: Name of the argument, a string.
        value: The value that was received.
        choices: Iterable of what is accepted.

    Returns:
        `value`, as Python's own type.

    Raises:
        ValueError: If `value` is none of `choices`.
    """
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
