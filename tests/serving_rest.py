"""The REST side of the server of serving.py: paths, JSON and statuses."""

import base64
import contextlib
import http.server
import json
import re
import urllib.parse
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}


class Refused(Exception):
    """An answer other than OK: a gRPC code's name and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def check_token(header, token):
    """What a proxy does; TensorFlow Serving itself knows no tokens."""
    if token is not None and header != f"Bearer {token}":
        raise Refused("UNAUTHENTICATED", "missing or wrong bearer token")


PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(?::predict)?"
)


class Rest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.handle_with(self.get)

    def do_POST(self):
        self.handle_with(self.post)

    def handle_with(self, method):
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        status = 200
        try:
            check_token(self.headers.get("Authorization"), self.server.token)
            if size > self.server.limit:
                status, content = 413, {"error": "Request Entity Too Large"}
            else:
                content = method(body)
        except Refused as refused:
            status = HTTP_STATUS.get(refused.code, 500)
            content = {"error": refused.message}
        content = json.dumps(content, indent=4).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.wfile.write(content)

    def asked(self, kind):
        """A request of a kind with the ModelSpec of the path."""
        found = PATH.fullmatch(self.path)
        if not found:
            raise Refused(
                "INVALID_ARGUMENT",
                f"Malformed request: {self.command} {self.path}",
            )
        name, version, label = found.groups()
        request = kind()
        request.model_spec.name = urllib.parse.unquote(name)
        if version:
            request.model_spec.version.value = int(version)
        elif label:
            request.model_spec.version_label = urllib.parse.unquote(label)
        return request

    def get(self, body):
        core = self.server.core
        if self.path == "/test":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return {"calls": core.calls, "rss": pages * 4096}
        request = self.asked(get_model_status_pb2.GetModelStatusRequest)
        return MessageToDict(
            core.status(request),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )

    def post(self, body):
        core = self.server.core
        if self.path == "/test":
            for name, value in json.loads(body).items():
                setattr(core, name, value)
            return {}
        request = self.asked(predict_pb2.PredictRequest)
        given = json.loads(body)
        name = given.get("signature_name", "serving_default")
        request.model_spec.signature_name = name
        with core.use(request.model_spec) as (_, servable):
            if name not in servable.signatures:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f'Serving signature name: "{name}" not found in signature '
                    "def",
                )
            inputs = dict(servable.signatures[name].inputs)
        for key, values in given["inputs"].items():
            if key not in inputs:
                raise Refused("INVALID_ARGUMENT", f"Unknown input: {key}")
            request.inputs[key].CopyFrom(
                tensor_of_json(values, tf.as_dtype(inputs[key].dtype))
            )
        outputs = {
            key: json_of_tensor(key, tf.make_ndarray(value))
            for key, value in core.predict(request).outputs.items()
        }
        (only,) = outputs.values() if len(outputs) == 1 else (None,)
        return {"outputs": outputs if only is None else only}

    def log_message(self, *args):
        pass


def tensor_of_json(values, dtype):
    if dtype == tf.string:
        values = [base64.b64decode(value["b64"]) for value in values]
        return tf.make_tensor_proto(np.array(values, object))
    try:
        return tf.make_tensor_proto(np.array(values), dtype)
    except (TypeError, ValueError):
        raise Refused(
            "INVALID_ARGUMENT", f"JSON Value is not of type: {dtype.name}"
        ) from None


def json_of_tensor(name, array):
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        encode = np.vectorize(
            lambda value: {"b64": base64.b64encode(value).decode()}, [object]
        )
    else:
        encode = np.vectorize(bytes.decode, [object])
    return encode(array).tolist()


class RestServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
