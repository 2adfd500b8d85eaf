"""TensorFlow Serving's REST port."""

import base64
import json
import urllib.parse

import numpy as np
import requests
import urllib3

from gcvit_export.client.answers import VersionStatus
from gcvit_export.client.errors import (
    HTTP_CODES,
    DeadlineError,
    MessageTooLargeError,
    ServingError,
    SignatureNotFoundError,
    UnavailableError,
    check_size,
    typed_error,
)

CONNECTIONS = 64
"""Connections that are kept open, as many threads may ask at once."""


class Rest:
    """Speaks REST, with urllib3's retries.

    Arguments and methods are those of `Grpc`, but the timeout is that of an
    attempt. TensorFlow Serving itself speaks REST without TLS only: `tls`
    is for a proxy before it.
    """

    def __init__(self, address, timeout, retries, tls, token, limit):
        """Opens the session, which connects at the first request."""
        self._address = address
        self._timeout = timeout
        self._limit = limit
        self._root = f"{'http' if tls is None else 'https'}://{address}/v1"
        self._session = requests.Session()
        # With each request: the session's gives way to the environment's.
        self._verify = True if tls in (None, True) else str(tls)
        policy = urllib3.Retry(
            total=retries,
            read=False,  # who is slow is not asked again
            status_forcelist=[
                k for k, v in HTTP_CODES.items() if v == "UNAVAILABLE"
            ],
            allowed_methods=None,
            backoff_factor=0.1,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        self._session.mount(
            self._root,
            requests.adapters.HTTPAdapter(
                pool_maxsize=CONNECTIONS, max_retries=policy
            ),
        )
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
        check_size(len(body), self._limit)
        outputs = self._call("POST", f"{_path(model)}:predict", "outputs", body)
        if not isinstance(outputs, dict):  # the only one comes without a name
            outputs = {wanted[0] if wanted else "": outputs}
        if not set(wanted) <= set(outputs):
            missing = ", ".join(sorted(set(wanted) - set(outputs)))
            raise SignatureNotFoundError(f"{signature} gives no {missing}")
        return {k: _array(v) for k, v in outputs.items()}

    def status(self, model):
        """Asks for the states of a model's versions; see `Grpc`."""
        states = self._call("GET", _path(model), "model_version_status")
        return [
            VersionStatus(
                int(entry["version"]),
                entry["state"],
                entry.get("status", {}).get("error_message", ""),
            )
            for entry in states
        ]

    def close(self):
        """Closes the connections."""
        self._session.close()

    def _call(self, method, path, field, body=None):
        """One field of the JSON that a request is answered with."""
        content = bytearray()
        try:
            with self._session.request(
                method,
                self._root + path,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=True,  # for the limit
            ) as response:
                for chunk in response.iter_content(2**16):
                    content += chunk
                    if len(content) > self._limit:
                        raise MessageTooLargeError(
                            "the answer is larger than `max_message_bytes`, "
                            f"{self._limit:,}"
                        )
        except requests.RequestException as error:
            raise self._failure(error) from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            start = content[:60].decode(errors="replace")
            raise self._other(
                f"but HTTP {response.status_code}: {start!r}",
                HTTP_CODES.get(response.status_code),
            )
        if response.status_code == 413:
            raise MessageTooLargeError(str(answer.get("error")))
        if response.status_code != 200 or "error" in answer:
            code = HTTP_CODES.get(response.status_code, "UNKNOWN")
            raise typed_error(code, str(answer.get("error")))
        if field not in answer:
            raise self._other(f"there is no {field}")
        return answer[field]

    def _failure(self, error):
        """The error of a request that got no answer, in plain words."""
        text = str(error)
        if "timed out" in text.lower() or isinstance(error, requests.Timeout):
            return DeadlineError(
                f"no answer in {self._timeout} s from {self._address}"
            )
        reasons = {
            "refused": "Connection refused",
            "resolve": "no such host",
            "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
            "SSL": "no TLS there, or another one",
            "reset": "the connection was reset",
        }
        reason = next(
            (v for k, v in reasons.items() if k in text),
            "the connection was lost",
        )
        return UnavailableError(f"{self._address} cannot be reached: {reason}")

    def _other(self, reason, code=None):
        return ServingError(
            f"{self._address} does not answer as TensorFlow Serving does, "
            f"{reason}",
            code or "INTERNAL",
        )


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
    if array.dtype == object:  # {"b64": ...}, as of names that end in _bytes
        decoded = [base64.b64decode(value["b64"]) for value in array.flat]
        array.flat = decoded
        return array
    narrow = {"f": "float32", "i": "int32"}
    return array.astype(narrow.get(array.dtype.kind, array.dtype))
