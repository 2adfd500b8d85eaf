"""What commands print."""

import contextlib
import json
import os
import sys
import tempfile

from rich.console import Console
from rich.markdown import Markdown

# No markup: a path may hold square brackets.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False)


class UsageError(ValueError):
    """Arguments that do not go together, or that the command cannot take."""


@contextlib.contextmanager
def named_options(options):
    """Makes errors that name a function's argument name the option.

    Args:
        options: Dict from names of arguments to options, such as
            `{"out": "--out"}`.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        for argument, option in options.items():
            message = message.replace(f"`{argument}`", option)
        if message == str(error):
            raise
        raise ValueError(message) from error


def as_json(value):
    """Plain data as the text of commands' JSON."""
    return json.dumps(value, indent=2)


def print_json(value):
    """Prints plain data as JSON, for a program to read."""
    print(as_json(value))


def print_page(lines):
    """Prints Markdown, a list of lines."""
    console.print(Markdown("\n".join(lines)))


def error_line(message):
    """Prints the first line of a message to standard error.

    Where making a graph failed it is the last line: the others say where in
    the code that was.
    """
    lines = (message.strip() or "no message").splitlines()
    first = lines[-1].strip() if lines[0] == "in user code:" else lines[0]
    errors.print(f"error: {first}", soft_wrap=True)


def note_line(message):
    """Prints a message to standard error that is no failure."""
    errors.print(f"note: {message}", soft_wrap=True)


@contextlib.contextmanager
def quietly():
    """Keeps what native libraries write to standard error off the screen.

    It is shown after all if the block fails for another reason than the
    user's input.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except ValueError:
            raise
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_tensorflow():
    """Imports TensorFlow and finds its devices without its start-up lines.

    TensorFlow 2.20 and 2.21 write them before `TF_CPP_MIN_LOG_LEVEL` is read
    (tensorflow issue 100442).
    """
    with quietly():
        import tensorflow as tf

        # The strategy of several workers is refused after this.
        if "TF_CONFIG" not in os.environ:
            tf.config.list_logical_devices()
