"""Where an export may be written."""

import contextlib
import re
from pathlib import Path

from gcvit_keras import checks


def file_path(path, suffix) -> Path:
    """Checks the path of a file to write.

    Args:
        path: The path, as the user gave it.
        suffix: The suffix that it must have, such as `".onnx"`.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If it has another suffix, or is a folder or an address.
    """
    check_local(path, "path")
    path = Path(path)
    if path.suffix != suffix or path.is_dir():
        accepted = f"of a file, no folder, that ends in {suffix}"
        raise checks.error("path", accepted, str(path))
    return path


def check_local(path, argument):
    """Refuses addresses, which would become folders of such names.

    Args:
        path: The path, as the user gave it.
        argument: Name of the argument, a string.

    Raises:
        ValueError: If it is an address, such as `gs://bucket`.
    """
    if re.match(r"[a-zA-Z0-9]{2,}:/", str(path)):  # one letter is a drive
        raise checks.error(
            argument, "a local path: export there, then copy", str(path)
        )


def check_loadable(path):
    """Refuses a path from which TensorFlow could not load a SavedModel.

    It takes the path for a pattern, and finds no weights in a folder of
    such a name.

    Args:
        path: Path to write to.

    Raises:
        ValueError: If the path holds one of `*?[]`.
    """
    if set("*?[]") & set(str(path)):
        raise ValueError(
            "TensorFlow cannot load a SavedModel from a path with any of "
            f"* ? [ ] in it. Received: {path}"
        )


@contextlib.contextmanager
def made_folder(path):
    """Makes a folder, of which nothing is left if the block fails.

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
