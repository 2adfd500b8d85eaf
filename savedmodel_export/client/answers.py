"""What a client asks for, and what it is answered with."""

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

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

    Examples:
    >>> from gcvit_export import Classification
    >>> answer = Classification((3, 0), ("cat", "dog"), (0.9, 0.1))
    >>> print(dict(zip(answer.labels, answer.scores)))
    {'cat': 0.9, 'dog': 0.1}
    """

    classes: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: ServingError | None = None

    WANTED = ("top_classes", "top_labels", "top_scores")

    @classmethod
    def of(cls, row):
        """Makes it of the outputs of one image."""
        return cls(
            classes=tuple(int(k) for k in row["top_classes"]),
            labels=_texts(row["top_labels"]),
            scores=tuple(float(score) for score in row["top_scores"]),
        )


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects of one image, the best first.

    Attributes:
        boxes: Float32 array `(n, 4)`: x1, y1, x2, y2 in pixels of the image.
        scores: Array `(n,)` of probabilities.
        classes: Integer array `(n,)`.
        labels: Their names, `n` strings.
        masks: Booleans `(n, height, width)`, or `None` where they were not
            asked for.
        size: Height and width of the image.
        error: `None`, or why there are none of these: an `InvalidImageError`
            or a `MessageTooLargeError`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_export import Detections
    >>> found = Detections(np.array([[2.0, 3, 12, 23]]), labels=("cat",))
    >>> for (x1, y1, x2, y2), label in zip(found.boxes, found.labels):
    ...     print(label, x2 - x1, "wide", y2 - y1, "high")
    cat 10.0 wide 20.0 high
    """

    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None
    classes: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    masks: np.ndarray | None = None
    size: tuple[int, int] | None = None
    error: ServingError | None = None

    WANTED = ("boxes", "scores", "classes", "labels", "count", "sizes")

    @classmethod
    def of(cls, row):
        """Makes it of the outputs of one image."""
        count = int(row["count"])
        return cls(
            boxes=np.asarray(row["boxes"][:count], "float32"),
            scores=np.asarray(row["scores"][:count], "float32"),
            classes=np.asarray(row["classes"][:count], "int32"),
            labels=_texts(row["labels"][:count]),
            size=tuple(int(side) for side in row["sizes"]),
        )


@dataclass(frozen=True, eq=False)
class MaskDetections(Detections):
    """`Detections` with masks, which come as PNG files."""

    WANTED = (*Detections.WANTED, "mask_png_bytes")

    @classmethod
    def of(cls, row):
        """Makes it of the outputs of one image."""
        detections = super().of(row)
        contents = row["mask_png_bytes"][: len(detections.scores)]
        masks = [np.asarray(Image.open(io.BytesIO(c))) >= 128 for c in contents]
        masks = np.array(masks, bool).reshape(-1, *detections.size)
        return replace(detections, masks=masks)


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The class of each pixel of one image.

    Attributes:
        classes: Uint8 array `(height, width)`, of the image's size.
        error: `None`, or why there are none of these: an `InvalidImageError`
            or a `MessageTooLargeError`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_export import ClassMap
    >>> found = ClassMap(np.array([[0, 0, 1, 0]], "uint8"))
    >>> print((found.classes == 1).mean())
    0.25
    """

    classes: np.ndarray | None = None
    error: ServingError | None = None

    WANTED = ("class_png_bytes",)

    @classmethod
    def of(cls, row):
        """Makes it of the outputs of one image."""
        content = io.BytesIO(row["class_png_bytes"])
        return cls(np.asarray(Image.open(content), "uint8"))


@dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model on the server.

    Attributes:
        version: Its number.
        state: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or
            `"END"`.
        error: Why it could not be loaded; empty where nothing failed.

    Examples:
    >>> from gcvit_export import VersionStatus
    >>> status = VersionStatus(1, "AVAILABLE", "")
    >>> print(status.version, status.state)
    1 AVAILABLE
    """

    version: int
    state: str
    error: str


def _texts(values):
    """Strings, which REST brings as they are and gRPC as bytes."""
    return tuple(
        value.decode() if isinstance(value, bytes) else str(value)
        for value in values
    )
