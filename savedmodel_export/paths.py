"""Where an export may be written."""

import contextlib
import re
from pathlib import Path

from gcvit_keras import checks


def file_path(path, suffix) -> Path:
    """Returns a `pathlib.Path` to write a file to.

    Raises a `ValueError` if the path has another suffix than, say, `".onnx"`,
    or is a folder or an address.
    """
    check_local(path, "path")
    path = Path(path)
    if path.suffix != suffix or path.is_dir():
        accepted = f"of a file, no folder, that ends in {suffix}"
        raise checks.error("path", accepted, str(path))
    return path


def check_local(path, argument):
    """Refuses addresses, such as `gs://bucket`, which would become folders."""
    if re.match(r"[a-zA-Z0-9]{2,}:/", str(path)):  # one letter is a drive
        raise checks.error(
            argument, "a local path: export there, then copy", str(path)
        )


def check_loadable(path):
    """Refuses a path from which TensorFlow could not load a SavedModel.

    It takes one with any of `*?[]` for a pattern, and finds no weights.
    """
    if set("*?[]") & set(str(path)):
        raise ValueError(
            "TensorFlow cannot load a SavedModel from a path with any of "
            f"* ? [ ] in it. Received: {path}"
        )


@contextlib.contextmanager
def made_folder(path):
    """Makes a folder and its parents; none is left if the block fails."""
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
