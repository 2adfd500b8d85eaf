"""Names of classes, as artefacts carry them."""

from pathlib import Path


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
    if isinstance(labels, (str, bytes)):
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
        if (
            not isinstance(label, str)
            or not label
            or label.splitlines() != [label]
        ):
            raise ValueError(
                "`labels` must be names of one line each. "
                f"Received among them: {label!r}"
            )
    return labels


def write_labels(labels, path):
    """Writes names, one a line, into a folder that is made where missing.

    Args:
        labels: As `check_labels` returns.
        path: Path of the text file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{label}\n" for label in labels), "utf-8")
