"""What `gcvit predict` asks of a model of any kind."""

import abc
from dataclasses import dataclass
from pathlib import Path

from gcvit_cli.console import UsageError


@dataclass(frozen=True)
class Options:
    """Options of the command that not all kinds of model have.

    Attributes:
        top: Results per image at most, or `None` for the kind's own number.
        crop_ratio: Share of an image that is seen, or `None`.
        score_threshold: Least score of an object, or `None`.
        out: Folder for pictures, or `None`.
    """

    top: int | None = None
    crop_ratio: float | None = None
    score_threshold: float | None = None
    out: Path | None = None

    def refuse(self, names, kind):
        """Raises a `UsageError` if one of these attributes is given.

        `kind` says in words what kind of model has no such options.
        """
        for name in names:
            if getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} does not go with {kind}")


class Pictures:
    """Places for the pictures of image files, each its own.

    Args:
        folder: `pathlib.Path`; made with the first of them.
    """

    def __init__(self, folder):
        """Has none yet."""
        self._folder = folder
        self._taken = set()

    def place(self, path):
        """Chooses the path of an image's picture, without a suffix.

        Of images of one name, in several folders, all are kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        name = stem = Path(path).stem
        number = 0
        # Class maps are called like the picture, with an ending.
        while {name, f"{name}_classes"} & self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken |= {name, f"{name}_classes"}
        return self._folder / name


class Predictor(abc.ABC):
    """A model, opened for what its kind predicts of images.

    Args:
        choice: A `gcvit_cli.choice.Choice`.
        model: `keras.Model`, or `gcvit_export.runner.Artifact`.
        options: `Options`.

    Attributes:
        task: Name of the `gcvit_training` task that measures such models.
        kind: Such a model in words, for messages.
    """

    task: str
    kind: str

    @staticmethod
    @abc.abstractmethod
    def network(model):
        """Makes what the task's `predict` takes as its network, of an export.

        Returns a function of the task's inputs, and of `training`, which is
        false. `model` is a `gcvit_export.runner.Artifact`.
        """

    @abc.abstractmethod
    def predict(self, path) -> tuple:
        """Predicts of an image file.

        Returns plain data for JSON, and a list of lines for a person. Raises a
        `ValueError` that names the file if it is no image.
        """
