"""What `ServingClient` answers with."""

from dataclasses import dataclass

from gcvit_export.client.transport import ServingError


@dataclass(frozen=True)
class Classification:
    """What the server says of one image.

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
    """One version of a model on the server.

    Attributes:
        version: Its number.
        state: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or
            `"END"`.
        error: Why it could not be loaded; empty where nothing failed.
    """

    version: int
    state: str
    error: str


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of it, such as `"DT_FLOAT"`.
        shape: Its sizes, `None` where any goes.
    """

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """One way to call a model.

    Attributes:
        inputs: Dict from names to `Tensor`.
        outputs: Dict from names to `Tensor`.
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@dataclass(frozen=True)
class Metadata:
    """What the server says of a model.

    Attributes:
        version: Number of the version that answered.
        signatures: Dict from names to `Signature`.
    """

    version: int
    signatures: dict[str, Signature]
