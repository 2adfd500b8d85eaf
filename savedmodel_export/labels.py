"""Names of classes, as artifacts carry them."""

from collections.abc import Iterable

from gcvit_keras import checks
from gcvit_keras.files import replacing


def check_labels(labels, classes) -> list | None:
    """Checks the names of the classes.

    Args:
        labels: Strings, one per class, in order; `None` for `class 0` and so
            on.
        classes: Number of classes, or `None` for a model that has none.

    Returns:
        List of `classes` strings, or `None` where there are no classes.

    Raises:
        ValueError: If there are more or fewer, or one is empty or not one
            line of text.
    """
    if labels is None:
        return classes and [f"class {k}" for k in range(classes)]
    if classes is None:
        raise ValueError(
            "`labels` must be None: the model has no single output of "
            "probabilities that they would name"
        )
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise checks.error("labels", "a list of names, one per class", labels)
    labels = list(labels)
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must be {classes} names, one per class. "
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


def labels_text(labels) -> str:
    """Returns the content of a `labels.txt`: a name per line."""
    return "".join(f"{label}\n" for label in labels)


def write_labels(labels, path):
    """Writes names that `check_labels` returned, one per line."""
    with replacing(path) as beside:
        beside.write_text(labels_text(labels), "utf-8")
