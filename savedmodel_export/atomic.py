"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Gives a path to write to, which becomes `path` if the block succeeds.

    It lies beside `path` and is made at once, so that a place that cannot be
    written is found before the work, and is removed if the block fails.

    Args:
        path: Path of the file to write or replace.

    Yields:
        `pathlib.Path` to write to, with the same suffix.

    Raises:
        OSError: If the file cannot be made.
    """
    path = Path(path)
    beside = path.with_name(f".writing-{os.getpid()}-{path.name}")
    beside.touch()  # as the umask says, unlike tempfile's
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
