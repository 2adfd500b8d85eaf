"""Files that are there whole or not at all."""

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path

WRITING = ".writing-"
"""Begin of the names of files that are being written: hidden, no number."""
ABANDONED = 24 * 3600
"""Age in seconds from which the process that wrote a file was killed."""


@contextlib.contextmanager
def replacing(path):
    """Gives a path to write to, which becomes `path` if the block succeeds.

    It lies beside `path` and is made at once, so that a place that cannot be
    written is found before the work. It is flushed to the disk before it
    takes its place, and removed if the block fails.

    Args:
        path: Path of the file to write or replace.

    Yields:
        `pathlib.Path` to write to, with the same suffix.

    Raises:
        OSError: If the file cannot be made.

    Examples:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gcvit_keras.files import replacing
    >>> path = Path(tempfile.mkdtemp(), "labels.txt")
    >>> with replacing(path) as beside:
    ...     _ = beside.write_text("cat")
    >>> path.read_text()
    'cat'
    """
    path = Path(path)
    beside = path.with_name(f"{WRITING}{uuid.uuid4().hex}{path.suffix}")
    beside.touch()  # as the umask says, unlike tempfile's
    try:
        yield beside
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def remove_abandoned(folder):
    """Removes half-written files of processes killed a day ago or earlier.

    Args:
        folder: Path of the folder that they wrote to.
    """
    for path in Path(folder).glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another may do the same
            if time.time() - path.stat().st_mtime < ABANDONED:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
