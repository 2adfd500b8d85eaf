"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path


def file_path(path, suffix) -> Path:
    """A path that a file can be written to.

    Args:
        path: As the user gave it.
        suffix: What it must end in.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If it ends in something else or is a folder.
    """
    path = Path(path)
    if path.suffix != suffix or path.is_dir():
        raise ValueError(
            f"`path` must be of a file that ends in {suffix}. "
            f"Received: path={path}" + " (a folder)" * path.is_dir()
        )
    return path


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
