"""Classes of a dataset among those of a model, by name."""

import functools

SHOWN = 5
"""Names that a message lists."""


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


class NamedClasses:
    """The classes of a task's data among those of the model that is measured.

    For a `Task` whose source has the `names` of its classes.

    Args:
        config: See `Task`.
        source: See `Task`; `None` for a network and its losses alone.

    Raises:
        ValueError: If two classes of the data have one name.
    """

    def __init__(self, config, source):
        super().__init__(config, source)
        names = [] if source is None else list(source.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                "`data` must have classes of different names. Several in "
                f"{config.data.dataset} are called {twice[:SHOWN]}"
            )

    @functools.cached_property
    def names(self):
        """Names of the model's classes; those of the data until it has some."""
        return list(self.source.names)

    @functools.cached_property
    def places(self):
        """Places of the data's classes among the model's."""
        return list(range(len(self.source.names)))

    def use_classes(self, names, model):
        """Pairs the model's classes with those of the data by name."""
        dataset = self.config.data.dataset
        # Exports call classes without names so.
        if names in (None, [f"class {k}" for k in range(len(names or []))]):
            return [
                f"{model} has no labels.txt: its classes are taken to be those "
                f"of {dataset}, in their order"
            ]
        self.places, notes = match_classes(
            self.source.names, names, model, dataset
        )
        self.names = list(names)
        return notes

    @property
    def reader(self):
        """The settings by which the model's images are read."""
        data = self.config.data
        return self.Reader(data.short_side, data.long_side)

    def write(self, folder):
        """Writes `labels.txt`, a class name per line, and the reader."""
        names = "".join(f"{name}\n" for name in self.source.names)
        folder.write_text("labels.txt", names)
        folder.write_text(self.reader.FILE, self.reader.to_json())
