"""What commands print."""

import contextlib
import os
import sys
import tempfile

from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def error_line(message):
    """Prints the first line of a message to standard error."""
    first = (message.strip() or "no message").splitlines()[0]
    errors.print(f"error: {first}", markup=False, soft_wrap=True)


def import_tensorflow():
    """Imports TensorFlow and finds its devices without its start-up lines.

    TensorFlow 2.19 to 2.21 write them before `TF_CPP_MIN_LOG_LEVEL` is read
    (tensorflow issue 100442). They are shown if the import fails.
    """
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as hidden, contextlib.ExitStack() as stack:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        os.dup2(hidden.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()
        except BaseException:
            os.dup2(kept, 2)
            hidden.seek(0)
            sys.stderr.write(hidden.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
