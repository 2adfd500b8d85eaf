"""What a client asks for, and what it is answered with."""

from dataclasses import dataclass

from gcvit_export.client.errors import ServingError


@dataclass(frozen=True)
class Model:
    """A model on a server.

    Attributes:
        name: The model's name.
        version: Number of a version, or `None`.
        label: Label of a version, or `None`. With neither, the server takes
            the newest version that it has loaded.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Classification:
    """Classes of one image.

    Attributes:
        classes: Numbers of the best classes, the best first.
        labels: Their names.
        scores: Their probabilities, in [0, 1].
        error: `None`, or why there are none of these: an `InvalidImageError`
            or a `MessageTooLargeError`.
    """

    classes: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: ServingError | None = None


@dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model on the server.

    Attributes:
        version: Its number.
        state: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or
            `"END"`.
        error: Why it could not be loaded; empty where nothing failed.
    """

    version: int
    state: str
    error: str
