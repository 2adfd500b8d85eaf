"""How a request reaches TensorFlow Serving, and the errors that come back.

`Grpc` and `Rest` have the same methods. Neither imports what it stands on
before it is made: TensorFlow Serving's stubs import TensorFlow.
"""

import base64
import itertools
import json
import random
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BACKOFF = 0.1
"""Seconds before the first retry; doubled before each later one."""

MOST_RETRIES = 4
"""gRPC sends a request five times at most, whatever its retry policy says."""

CONNECTIONS = 64
"""Connections that REST keeps open, as many threads may ask at once."""

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
    """The model was exported without the signature."""

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


def typed_error(code, message):
    """The error of a gRPC code and TensorFlow Serving's wording.

    Args:
        code: Name of a gRPC code.
        message: The server's message.

    Returns:
        A `ServingError` of the class that fits, with that code.
    """
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
    elif "Serving signature" in message and "not found" in message:
        kind = SignatureNotFoundError
    elif "larger than max" in message:  # bytes, or rows where it batches
        kind = MessageTooLargeError
    return kind(message, code)


@dataclass(frozen=True)
class Model:
    """What a request asks for.

    Attributes:
        name: The model's name on the server.
        version: Number of a version, or `None`.
        label: Label of a version, or `None`. With neither, the server takes
            the newest version that it has loaded.
    """

    name: str
    version: int | None = None
    label: str | None = None


def _check_size(size, limit):
    if size > limit:
        raise MessageTooLargeError(
            f"a request of {size:,} bytes is larger than `max_message_bytes`, "
            f"{limit:,}"
        )


class Grpc:
    """TensorFlow Serving's gRPC port, by its official stubs.

    Args:
        address: `"host:port"`.
        timeout: Seconds a request may take, its retries included.
        retries: Further attempts where the server is unavailable.
        tls: `None`, `True` for the system's root certificates, or the path
            of a PEM file of others.
        token: Bearer token, or `None`; needs `tls`.
        limit: Largest request and answer, in bytes.

    Raises:
        OSError: If the root certificates cannot be read.
    """

    def __init__(self, address, timeout, retries, tls, token, limit):
        """Opens the channel, which connects at the first request."""
        import grpc
        from tensorflow_serving.apis import (
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        self._address = address
        self._timeout = timeout
        self._limit = limit
        self._failure = grpc.RpcError
        options = [
            ("grpc.max_receive_message_length", limit),
            # gRPC does not retry what it does not keep, and keeps 256 KiB:
            # less than half of one image of 224 x 224.
            ("grpc.per_rpc_retry_buffer_size", limit),
            # Otherwise gRPC looks for a lost server again after 1 s, when only
            # the last retry is left.
            ("grpc.initial_reconnect_backoff_ms", int(1000 * BACKOFF)),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if retries:
            policy = {
                "maxAttempts": 1 + retries,
                "initialBackoff": f"{BACKOFF}s",
                "backoffMultiplier": 2,
                "maxBackoff": f"{BACKOFF * 2**MOST_RETRIES}s",
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            methods = [{"name": [{}], "retryPolicy": policy}]
            config = json.dumps({"methodConfig": methods})
            options.append(("grpc.service_config", config))
        if tls is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            roots = None if tls is True else Path(tls).read_bytes()
            credentials = grpc.ssl_channel_credentials(roots)
            if token is not None:
                credentials = grpc.composite_channel_credentials(
                    credentials, grpc.access_token_call_credentials(token)
                )
            self._channel = grpc.secure_channel(address, credentials, options)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, model, signature, name, rows, wanted):
        """Runs one signature on one batch.

        Args:
            model: A `Model`.
            signature: Name of the signature.
            name: Name of its input.
            rows: Array `(batch, ...)`, or a list of bytes.
            wanted: Names of the outputs to return; empty for all.

        Returns:
            Dict from the names of outputs to arrays `(batch, ...)`.

        Raises:
            ServingError: If the server does not answer with them.
        """
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        if isinstance(rows, list):
            rows = np.array(rows, object)  # not padded to the longest
        request = predict_pb2.PredictRequest()
        _fill(request.model_spec, model)
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(rows))
        request.output_filter.extend(wanted)
        _check_size(request.ByteSize(), self._limit)
        answer = self._call(self._predictions.Predict, request)
        return {k: tf.make_ndarray(v) for k, v in answer.outputs.items()}

    def metadata(self, model):
        """Signatures of a model, as the dict that REST answers with."""
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _fill(request.model_spec, model)
        request.metadata_field.append("signature_def")
        answer = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        signatures = MessageToDict(signatures, preserving_proto_field_name=True)
        return {
            "model_spec": {"version": answer.model_spec.version.value},
            "metadata": {"signature_def": signatures},
        }

    def status(self, model):
        """States of a model's versions, as the dict that REST answers with."""
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        _fill(request.model_spec, model)
        answer = self._call(self._models.GetModelStatus, request)
        return MessageToDict(answer, preserving_proto_field_name=True)

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except self._failure as error:
            code, message = error.code().name, error.details() or ""
            if code == "DEADLINE_EXCEEDED":
                message = f"no answer in {self._timeout} s from {self._address}"
            raise typed_error(code, message) from error


def _fill(spec, model):
    spec.name = model.name
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label


class Rest:
    """TensorFlow Serving's REST port; needs neither gRPC nor TensorFlow.

    Arguments and methods are those of `Grpc`. TensorFlow Serving itself
    speaks REST without TLS only: `tls` is for a proxy before it.
    """

    def __init__(self, address, timeout, retries, tls, token, limit):
        """Opens the session, which connects at the first request."""
        import requests

        self._requests = requests
        self._address = address
        self._timeout = timeout
        self._retries = retries
        self._limit = limit
        self._root = f"{'http' if tls is None else 'https'}://{address}/v1"
        self._verify = True if tls in (None, True) else str(tls)
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS)
        self._session.mount(self._root, adapter)
        if token is not None:
            # As an authentication: a header would give way to ~/.netrc.
            self._session.auth = lambda request: _with_token(request, token)

    def predict(self, model, signature, name, rows, wanted):
        """Runs one signature on one batch; see `Grpc`."""
        if isinstance(rows, np.ndarray):
            rows = rows.tolist()
        else:
            rows = [{"b64": base64.b64encode(row).decode()} for row in rows]
        body = json.dumps({"signature_name": signature, "inputs": {name: rows}})
        _check_size(len(body), self._limit)
        answer = self._call("POST", f"{_path(model)}:predict", body)
        outputs = self._field(answer, "outputs")
        if not isinstance(outputs, dict):  # the only one comes without a name
            outputs = {wanted[0]: outputs}
        return {k: _array(self._field(outputs, k)) for k in wanted or outputs}

    def metadata(self, model):
        """Signatures of a model, as TensorFlow Serving answers."""
        answer = self._call("GET", f"{_path(model)}/metadata")
        self._field(answer, "metadata")
        return answer

    def status(self, model):
        """States of a model's versions, as TensorFlow Serving answers."""
        answer = self._call("GET", _path(model))
        self._field(answer, "model_version_status")
        return answer

    def _field(self, answer, name):
        if name not in answer:
            raise ServingError(
                f"{self._address} does not answer as TensorFlow Serving does: "
                f"there is no {name}",
                "INTERNAL",
            )
        return answer[name]

    def close(self):
        """Closes the connections."""
        self._session.close()

    def _call(self, method, path, body=None):
        # Not urllib3's Retry: it gives every attempt the whole timeout, and
        # takes a lost connection for a slow answer, to retry both or neither.
        end = time.monotonic() + self._timeout
        for attempt in itertools.count():
            try:
                return self._attempt(method, path, body, end)
            except UnavailableError:
                wait = BACKOFF * 2**attempt * random.uniform(0.8, 1.2)
                if attempt == self._retries or time.monotonic() + wait > end:
                    raise
                time.sleep(wait)

    def _attempt(self, method, path, body, end):
        content = bytearray()
        try:
            with self._session.request(
                method,
                self._root + path,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=max(end - time.monotonic(), 0.001),
                verify=self._verify,
                allow_redirects=False,
                stream=True,  # for the deadline and the limit
            ) as response:
                for chunk in response.iter_content(2**16):
                    content += chunk
                    if len(content) > self._limit:
                        raise MessageTooLargeError(
                            "the answer is larger than `max_message_bytes`, "
                            f"{self._limit:,}"
                        )
                    if time.monotonic() > end:
                        raise self._requests.Timeout
        except self._requests.RequestException as error:
            late = isinstance(error, self._requests.Timeout)
            if late or time.monotonic() >= end:
                raise DeadlineError(
                    f"no answer in {self._timeout} s from {self._address}"
                ) from error
            raise UnavailableError(
                f"{self._address} cannot be reached: {error}"
            ) from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            start = content[:60].decode(errors="replace")
            answer = {
                "error": f"{self._address} does not answer as TensorFlow "
                f"Serving does, but HTTP {response.status_code}: {start!r}"
            }
        if response.status_code == 200 and "error" not in answer:
            return answer
        message = f"{answer.get('error') or response.reason}"
        code = HTTP_CODES.get(response.status_code, "UNKNOWN")
        if response.status_code == 413:
            raise MessageTooLargeError(message)
        raise typed_error(code, message)


def _with_token(request, token):
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _path(model):
    path = f"/models/{urllib.parse.quote(model.name, safe='')}"
    if model.version is not None:
        path += f"/versions/{model.version}"
    elif model.label is not None:
        path += f"/labels/{urllib.parse.quote(model.label, safe='')}"
    return path


def _array(values):
    """Nested lists as the array that gRPC would have brought."""
    array = np.asarray(values)
    narrow = {"f": "float32", "i": "int32"}
    return array.astype(narrow.get(array.dtype.kind, array.dtype))
