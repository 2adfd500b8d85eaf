"""Files that are there whole or not at all."""

import contextlib
import os
import re
import shutil
import time
import uuid
from pathlib import Path

WRITING = ".writing-"
"""Before the names of what is being written; hidden, and no number."""
ABANDONED = 24 * 3600
"""Seconds after which a killed process has left what is still there."""


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
    check_local(path, "path")
    path = Path(path)
    if path.suffix != suffix or path.is_dir():
        raise ValueError(
            f"`path` must be of a file that ends in {suffix}. "
            f"Received: path={path}" + " (a folder)" * path.is_dir()
        )
    return path


def check_local(path, argument):
    """Refuses addresses, which would become folders of such names.

    Args:
        path: As the user gave it.
        argument: What the message calls it.

    Raises:
        ValueError: If it is one.
    """
    if re.match(r"[a-zA-Z0-9]{2,}:/", str(path)):  # one letter is a drive
        raise ValueError(
            f"`{argument}` must be a local path: export there, then copy. "
            f"Received: {argument}={path}"
        )


@contextlib.contextmanager
def made_folder(path):
    """A folder, of which nothing is left if the block fails.

    Args:
        path: Path of the folder; made with its parents where missing.

    Yields:
        `pathlib.Path`.

    Raises:
        OSError: If it cannot be made.
    """
    path = Path(path)
    missing = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):  # another's file is in it
                folder.rmdir()
        raise


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
    beside = path.with_name(f"{WRITING}{uuid.uuid4().hex}{path.suffix}")
    remove_abandoned(path.parent)
    beside.touch()  # as the umask says, unlike tempfile's
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def remove_abandoned(folder):
    """Removes what processes that were killed have left half written.

    Args:
        folder: Path of the folder that they wrote to.
    """
    for path in folder.glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another may do the same
            if time.time() - path.stat().st_mtime < ABANDONED:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
