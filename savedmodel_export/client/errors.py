"""What can go wrong between a client and a server."""

HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The gRPC code that TensorFlow Serving, or a proxy, answers with a status."""


class ServingError(OSError):
    """A request that was not answered; the message says why.

    Attributes:
        code: gRPC's name for the kind of failure, such as `"UNAVAILABLE"`,
            over REST too.
    """

    code = "UNKNOWN"

    def __init__(self, message, code=None):
        """Takes the message, and the code where the class does not say it."""
        super().__init__(message)
        self.code = code or self.code


class ModelNotFoundError(ServingError):
    """The server does not serve a model of this name."""

    code = "NOT_FOUND"


class VersionNotFoundError(ModelNotFoundError):
    """The model is served, but not in this version or under this label."""


class SignatureNotFoundError(ServingError):
    """The model was exported without the signature, or it gives other outputs.

    As where a detector is asked for the classes of whole images.
    """

    code = "FAILED_PRECONDITION"


class InvalidRequestError(ServingError):
    """The model cannot take what was sent: its names, dtype or shape."""

    code = "INVALID_ARGUMENT"


class InvalidImageError(InvalidRequestError):
    """One image cannot be read or decoded."""


class MessageTooLargeError(ServingError):
    """A request or an answer exceeds a limit on either side.

    Of bytes, or of the rows that a server with `--enable_batching` takes.
    """

    code = "RESOURCE_EXHAUSTED"


class DeadlineError(ServingError):
    """No answer in time."""

    code = "DEADLINE_EXCEEDED"


class UnavailableError(ServingError):
    """The server cannot be reached or is not ready, after all retries."""

    code = "UNAVAILABLE"


class UnauthenticatedError(ServingError):
    """The token is missing, wrong, or does not allow this."""

    code = "UNAUTHENTICATED"


def typed_error(code, message) -> ServingError:
    """Makes the `ServingError` of a gRPC code and of the server's message."""
    kinds = {
        "NOT_FOUND": ModelNotFoundError,
        "INVALID_ARGUMENT": InvalidRequestError,
        "FAILED_PRECONDITION": InvalidRequestError,
        "OUT_OF_RANGE": InvalidRequestError,
        "DEADLINE_EXCEEDED": DeadlineError,
        "UNAVAILABLE": UnavailableError,
        "UNAUTHENTICATED": UnauthenticatedError,
        "PERMISSION_DENIED": UnauthenticatedError,
    }
    kind = kinds.get(code, ServingError)
    if "Unrecognized servable version label" in message:
        kind = VersionNotFoundError
    elif "alias not found in signature" in message or (
        "Serving signature" in message and "not found" in message
    ):
        kind = SignatureNotFoundError
    elif "larger than max" in message:  # bytes, or rows where it batches
        kind = MessageTooLargeError
    return kind(message, code)


def check_size(size, limit):
    """Refuses a request of more bytes than the limit."""
    if size > limit:
        raise MessageTooLargeError(
            f"a request of {size:,} bytes is larger than `max_message_bytes`, "
            f"{limit:,}"
        )
