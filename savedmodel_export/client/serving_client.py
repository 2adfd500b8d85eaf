"""A client of TensorFlow Serving, for what this library exports."""

import numbers
from dataclasses import replace

import numpy as np

from gcvit_export.client.answers import (
    Classification,
    ClassMap,
    Detections,
    MaskDetections,
    Model,
    VersionStatus,
)
from gcvit_export.client.arguments import (
    certificates,
    check,
    integer,
    is_address,
    is_name,
    is_token,
)
from gcvit_export.client.errors import (
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    VersionNotFoundError,
)
from gcvit_export.client.files import (
    error_of,
    first_line,
    read_files,
    rows_of,
)
from gcvit_export.samples import checked_pixels

MOST_RETRIES = 4
"""gRPC sends a request five times at most, whatever its retry policy says."""


class ServingClient:
    """Asks a TensorFlow Serving server that serves an export of this library.

    Usable as a context manager, and by many threads at once. A call is sent
    in batches, all of which one version of the model answers, even if the
    server loads a newer one meanwhile.

    Args:
        address: `"host:port"`, of the gRPC port (8500 by default on the
            server) or the REST port (8501).
        model: Name of the model on the server.
        protocol: `"grpc"` or `"rest"`. gRPC is the faster one for pixels.
        version: Number of a version. Default: the newest one loaded.
        label: Label of a version, in place of its number.
        timeout: Seconds that a batch may take, over gRPC with its retries,
            over REST per attempt; 1,000,000 at most.
        retries: Further attempts, 0 to 4, where the server is unavailable
            (gRPC's UNAVAILABLE, HTTP's 503, no connection), 0.1, 0.2, 0.4
            and 0.8 s after each other, give or take a fifth. Nothing else is
            retried.
        batch_size: Most images in a request; no more than a server that
            batches takes, 16 as `export_serving` sets it.
        tls: `True` to check the server against the system's root
            certificates, or the path of a PEM file of others. Default: no
            encryption.
        token: Bearer token for a proxy before the server, printable ASCII;
            needs `tls`.
        max_message_bytes: Largest request or answer, in bytes, at most
            2 GiB - 1. A larger batch is sent in parts.

    Raises:
        ValueError: If an argument is none of these.

    Examples:
    >>> from gcvit_export import ServingClient, UnavailableError
    >>> with ServingClient("127.0.0.1:1", retries=0, timeout=1) as client:
    ...     try:
    ...         print(client.status())
    ...     except UnavailableError:
    ...         print("nobody is there")
    nobody is there
    """

    def __init__(
        self,
        address,
        model="gcvit",
        *,
        protocol="grpc",
        version=None,
        label=None,
        timeout=30.0,
        retries=MOST_RETRIES,
        batch_size=16,
        tls=None,
        token=None,
        max_message_bytes=64 * 2**20,
    ):
        """Checks the arguments; connects at the first request."""
        check("address", is_address(address), '"host:port"', address)
        check("model", is_name(model), "the model's name", model)
        is_label = label is None or is_name(label)
        check("label", is_label, "a label's name", label)
        is_protocol = protocol in ("grpc", "rest")
        check("protocol", is_protocol, '"grpc" or "rest"', protocol)
        if version is not None:
            version = integer("version", version, 0, 2**63 - 1)
            check("label", label is None, "None beside `version`", label)
        is_time = isinstance(timeout, numbers.Real) and 0 < timeout <= 1e6
        check("timeout", is_time, "seconds in (0, 1000000]", timeout)
        tls = certificates(tls)
        if token is not None and (tls is None or not is_token(token)):
            raise ValueError(  # does not show it
                "`token` must be printable ASCII without spaces, and needs "
                "`tls`: without, anyone on the way could read it"
            )
        if protocol == "grpc":
            from gcvit_export.client.over_grpc import Grpc as Transport
        else:
            from gcvit_export.client.over_rest import Rest as Transport
        self._model = Model(model, version, label)
        self._batch_size = integer("batch_size", batch_size, 1, 2**31 - 1)
        self._open = Transport(
            str(address),
            float(timeout),
            integer("retries", retries, 0, MOST_RETRIES),
            tls,
            token,
            integer("max_message_bytes", max_message_bytes, 1, 2**31 - 1),
        )

    def __enter__(self):
        """Returns the client itself."""
        return self

    def __exit__(self, *exception):
        """Closes the connections."""
        self.close()

    def close(self):
        """Closes the connections; the client is of no use after."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _transport(self):
        transport = self._open
        if transport is None:
            raise ValueError("this client is closed")
        return transport

    def predict(self, images):
        """Computes the outputs of images given as pixels.

        Args:
            images: Array of numbers `(batch, height, width, channels)`, in
                [0, 255].

        Returns:
            Float32 array `(batch, classes)` of probabilities; of a model of
            several outputs a dict of arrays by their names.

        Raises:
            ValueError: If `images` is not such an array.
            ServingError: If the server does not answer.
        """
        outputs = self._ask_pixels("serve_images", images)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def features(self, images) -> dict[str, np.ndarray]:
        """Computes the features of images given as pixels.

        Args:
            images: See `predict`.

        Returns:
            Dict of float32 arrays: `pooled`, `(batch, width)`, and `P2` to
            `P5`, `(batch, height / stride, width / stride, channels)` with
            strides of 4, 8, 16 and 32.

        Raises:
            ValueError: If `images` is not such an array.
            ServingError: If the server does not answer.
        """
        return self._ask_pixels("features", images)

    def classify(self, images) -> list[Classification]:
        """Classifies encoded images, which the server decodes.

        A server refuses some batches as a whole for one image, such as a PNG
        broken inside: these are halved until it is found.

        Args:
            images: Encoded images (JPEG, PNG, WebP or BMP), each bytes or the
                path of a file.

        Returns:
            One `Classification` per image, in their order; that of an image
            that cannot be read, decoded or sent has an `error`.

        Raises:
            ValueError: If `images` is empty or holds anything else.
            ServingError: If the server does not answer.
        """
        return self._ask_files("serve_bytes", images, Classification)

    def detect(self, images, masks=True) -> list[Detections]:
        """Finds the objects in encoded images, which the server decodes.

        Of a detector that `export_saved_model` has written. Broken images
        are told apart as by `classify`.

        Args:
            images: See `classify`.
            masks: Whether to ask for masks in the size of the images, which
                are larger than the rest.

        Returns:
            One `Detections` per image, in their order; that of an image that
            cannot be read, decoded or sent has an `error`.

        Raises:
            ValueError: If `images` is empty or holds anything else.
            ServingError: If the server does not answer.
        """
        if masks:
            return self._ask_files("serve_bytes_masks", images, MaskDetections)
        return self._ask_files("serve_bytes", images, Detections)

    def segment(self, images) -> list[ClassMap]:
        """Finds the class of each pixel of encoded images.

        Of a segmenter that `export_saved_model` has written. Broken images
        are told apart as by `classify`.

        Args:
            images: See `classify`.

        Returns:
            One `ClassMap` per image, in their order; that of an image that
            cannot be read, decoded or sent has an `error`.

        Raises:
            ValueError: If `images` is empty or holds anything else.
            ServingError: If the server does not answer.
        """
        return self._ask_files("serve_bytes", images, ClassMap)

    def status(self) -> list[VersionStatus]:
        """Asks for the states of all the model's versions.

        Returns:
            A `VersionStatus` each, the newest first.

        Raises:
            ServingError: If the server does not answer.
        """
        states = self._transport.status(Model(self._model.name))
        return sorted(states, key=lambda state: -state.version)

    def _ask_files(self, signature, images, kind):
        """Sends image files; gives an answer of a kind for each."""
        contents, errors, names = read_files(images)
        results = {i: kind(error=error) for i, error in errors.items()}
        if contents:
            answers = self._ask(
                signature,
                "image_bytes",
                list(contents.values()),
                ["valid", *kind.WANTED],
                refused=(InvalidRequestError, MessageTooLargeError),
            )
            rows = (row for answer in answers for row in rows_of(answer))
            for i, row in zip(contents, rows, strict=True):
                error = error_of(names[i], row)
                results[i] = kind(error=error) if error else kind.of(row)
        return [results[i] for i in range(len(names))]

    def _ask_pixels(self, signature, images):
        images = checked_pixels(images)
        try:
            answers = self._ask(signature, "images", images, [])
        except InvalidRequestError as error:
            raise InvalidRequestError(
                f"{signature} does not take `images` {images.shape}; the "
                f"server says: {first_line(error)}",
                error.code,
            ) from error
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    def _ask(self, signature, name, rows, wanted, refused=()):
        """Sends rows in batches, which one version answers.

        Args:
            signature: Name of the signature.
            name: Name of its input.
            rows: Array `(rows, ...)` or list.
            wanted: Names of the outputs; empty for all.
            refused: Errors of which one row may be the cause.

        Returns:
            List of dicts of arrays, as of the batches, in order; in place of
            one that a single row made fail with `refused`, that error.
        """

        def send(model, rows):
            return self._named(
                self._transport.predict, model, signature, name, rows, wanted
            )

        def parts(model, rows):
            try:
                return [send(model, rows)]
            except (MessageTooLargeError, *refused) as error:
                if len(rows) > 1:
                    half = len(rows) // 2
                    return parts(model, rows[:half]) + parts(model, rows[half:])
                if isinstance(error, refused):
                    return [error]
                raise

        if len(rows) == 1:
            return parts(self._model, rows)
        if len(rows) <= self._batch_size:
            try:
                return [send(self._model, rows)]
            except (MessageTooLargeError, *refused):
                pass  # in parts, then
        while True:
            model = self._one_version()
            try:
                return [
                    part
                    for start in range(0, len(rows), self._batch_size)
                    for part in parts(
                        model, rows[start : start + self._batch_size]
                    )
                ]
            except ModelNotFoundError:
                # A newer version took its place: ask that for all rows.
                if model == self._one_version():
                    raise

    def _one_version(self):
        """The model, with the number of the version that is served now."""
        if self._model.version is not None or self._model.label is not None:
            return self._model
        ready = [s.version for s in self.status() if s.state == "AVAILABLE"]
        return replace(self._model, version=max(ready, default=None))

    def _named(self, call, *arguments):
        """Calls the server; tells a missing version from a missing model."""
        try:
            return call(*arguments)
        except ModelNotFoundError as error:
            if self._model.version is None:
                raise
            versions = [f"{s.version} ({s.state})" for s in self.status()]
            raise VersionNotFoundError(
                f"model {self._model.name} has no version "
                f"{self._model.version} to ask; on the server: "
                f"{', '.join(versions)}"
            ) from error
