"""Classes of a dataset among those of a model, by name."""

SHOWN = 5
"""Names that a message lists."""


def names_or_none(names, model, dataset):
    """Takes names that exports give to classes without names for none.

    Args:
        names: Names of the model's classes, or `None`.
        model: What the model is called, for messages.
        dataset: What the dataset is called.

    Returns:
        The names, or `None`; and a list of lines to tell the user.

    Examples:
    >>> from gcvit_training.tasks.classes import names_or_none
    >>> names_or_none(["class 0", "class 1"], "m.tflite", "photos")[0]
    """
    if names is not None and names != [f"class {k}" for k in range(len(names))]:
        return list(names), []
    return None, [
        f"{model} has no labels.txt: its classes are taken to be those of "
        f"{dataset}, in their order"
    ]


def match_classes(classes, names, model, dataset):
    """Finds each class of a dataset among the classes of a model.

    Args:
        classes: Names of the dataset's classes.
        names: Names of the model's classes.
        model: What the model is called, for messages.
        dataset: What the dataset is called.

    Returns:
        Tuple of the places of `classes` in `names`, a list of integers, and a
        list of lines to tell the user.

    Raises:
        ValueError: If the model does not know one of the classes, or has two
            of one name.

    Examples:
    >>> from gcvit_training.tasks.classes import match_classes
    >>> match_classes(["dog"], ["cat", "dog"], "model.keras", "photos")
    ([1], ['photos has no images of cat (1 of 2 classes)'])
    """
    classes, names = list(classes), list(names)
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(
            f"{dataset} has classes that {model} does not know: "
            f"{', '.join(unknown[:SHOWN])} ({len(unknown)} of {len(classes)})"
        )
    if any(names.count(name) > 1 for name in classes):
        raise ValueError(f"{model} has two classes of one name")
    missing = [name for name in names if name not in classes]
    notes = []
    if missing:
        notes.append(
            f"{dataset} has no images of {', '.join(missing[:SHOWN])} "
            f"({len(missing)} of {len(names)} classes)"
        )
    return [names.index(name) for name in classes], notes
