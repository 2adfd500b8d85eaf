"""Names of classes, as artefacts carry them."""

from collections.abc import Iterable
from pathlib import Path

from gcvit_keras.files import replacing


def check_labels(labels, classes) -> list:
    """The names of the classes, checked.

    Args:
        labels: Strings, one a class, in order; `None` for `class 0` and on.
        classes: How many classes there are.

    Returns:
        List of `classes` strings.

    Raises:
        ValueError: If there are more or fewer, or one is empty or not one
            line of text.
    """
    if labels is None:
        return [f"class {k}" for k in range(classes)]
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise ValueError(
            "`labels` must be a list of names, one a class. "
            f"Received: labels={labels!r}"
        )
    labels = list(labels)
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must be {classes} names, one a class. "
            f"Received: {len(labels)} of them"
        )
    for label in labels:
        if not isinstance(label, str) or not _is_line(label):
            raise ValueError(
                "`labels` must be names of one line of text each. "
                f"Received among them: {label!r}"
            )
    return labels


def _is_line(label):
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return label.splitlines() == [label]


def write_labels(labels, path):
    """Writes names, one a line.

    Args:
        labels: As `check_labels` returns.
        path: Path of the text file.
    """
    with replacing(path) as beside:
        beside.write_text("".join(f"{label}\n" for label in labels), "utf-8")


def same_labels(labels, path):
    """Whether a file is missing or names the same classes.

    Args:
        labels: As `check_labels` returns.
        path: Path of the text file.

    Raises:
        OSError: If it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        return True
    text = path.read_bytes().decode("utf-8-sig", "replace")
    return text.splitlines() == labels
