"""A server on the loopback that behaves as TensorFlow Serving does.

    python tests/serving.py FOLDER

The models are `MODELS`, each with its versions in a folder of its name.

It prints its two ports as JSON and serves until its standard input ends. The
official servicers answer over gRPC and the documented paths over REST. A
SavedModel runs as in TensorFlow Serving, in a session without Python's checks
of what is fed. POST /test sets the faults, GET /test tells what was seen.
`start` does all that from a test.
"""

import argparse
import base64
import contextlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

MODELS = ("gcvit", "strict", "bare", "swap", "warm")
"""Models that the tests ask a server for."""

LABELS = {"gcvit": {"stable": 1}}

POLL = 0.1
"""Seconds between looks at the base path; TensorFlow Serving takes 1."""

MOST_WARM_UP = 1000
"""Records of a warm-up file, as TensorFlow Serving has it."""

STATE = get_model_status_pb2.ModelVersionStatus.State

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


def code_of(error):
    """The gRPC code of an error of TensorFlow's."""
    return next(
        code.name
        for code in grpc.StatusCode
        if code.value[0] == error.error_code
    )


class Servable:
    """One version of a model, loaded."""

    def __init__(self, path):
        self.users = 0
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(path)
            )
        self.signatures = loaded.signature_def
        self._callables, self._lock = {}, threading.Lock()
        try:
            self._warm_up(path / "assets.extra" / "tf_serving_warmup_requests")
        except BaseException:
            self.close()
            raise

    def _warm_up(self, path):
        if not path.is_file():
            return
        for i, record in enumerate(tf.data.TFRecordDataset([str(path)])):
            log = prediction_log_pb2.PredictionLog()
            try:
                log.ParseFromString(record.numpy())
            except Exception:
                raise Refused(
                    "INVALID_ARGUMENT", f"Failed to parse warmup record: {path}"
                ) from None
            if log.WhichOneof("log_type") != "predict_log":
                raise Refused(
                    "UNIMPLEMENTED", "Unsupported log_type for warmup"
                )
            if i >= MOST_WARM_UP:
                raise Refused(
                    "INVALID_ARGUMENT",
                    "Number of warmup records exceeds the maximum "
                    f"({MOST_WARM_UP}) at {path}",
                )
            self.predict(log.predict_log.request)

    def predict(self, request):
        """Dict of the arrays that a PredictRequest asks for."""
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.signatures:
            raise Refused(
                "FAILED_PRECONDITION",
                f'Serving signature key "{name}" not found.',
            )
        signature = self.signatures[name]
        sent, known = set(request.inputs), set(signature.inputs)
        if sent != known:
            extra, missing = ",".join(sent - known), ",".join(known - sent)
            raise Refused(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(sent)}!="
                f"{len(known)} len({{{','.join(sent)}}}) != "
                f"len({{{','.join(known)}}}). Sent extra: {{{extra}}}. "
                f"Missing but required: {{{missing}}}.",
            )
        wanted = sorted(request.output_filter or signature.outputs)
        for output in wanted:
            if output not in signature.outputs:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {output}",
                )
        arrays = []
        for key in sorted(request.inputs):
            try:
                arrays.append(tf.make_ndarray(request.inputs[key]))
            except (TypeError, ValueError):
                raise Refused(
                    "INVALID_ARGUMENT", f"tensor parsing error: {key}"
                ) from None
        run = self._callable(name, tuple(wanted))
        try:
            return dict(zip(wanted, run(*arrays), strict=True))
        except tf.errors.OpError as error:
            raise Refused(code_of(error), error.message) from None

    def _callable(self, name, wanted):
        with self._lock:
            if (name, wanted) not in self._callables:
                signature = self.signatures[name]
                options = config_pb2.CallableOptions()
                options.feed.extend(
                    signature.inputs[key].name
                    for key in sorted(signature.inputs)
                )
                options.fetch.extend(
                    signature.outputs[key].name for key in wanted
                )
                # Session.run would check the shapes, which C++ does not.
                self._callables[name, wanted] = (
                    self._session._make_callable_from_options(options)
                )
            return self._callables[name, wanted]

    def close(self):
        self._callables.clear()
        self._session.close()


class Versions:
    """Serves the newest version in a folder, and drops the one before after.

    The old one goes when the new one has taken its place and the last request
    it was given has ended.
    """

    def __init__(self, base, labels):
        self.base, self.labels = base, labels
        self.states = {}  # version: [state, code, message]
        self.served = {}  # version: Servable
        self.changed = threading.Condition()

    def look(self):
        numbers = [int(p.name) for p in self.base.iterdir() if p.name.isdigit()]
        newest = max(numbers, default=None)
        if newest is None or newest in self.served:
            return
        if newest in self.states and self.states[newest][1] != "OK":
            return  # failed: TensorFlow Serving tries five times, then gives up
        self._set(newest, "LOADING")
        try:
            servable = Servable(self.base / str(newest))
        except Exception as error:
            code = "UNKNOWN"
            if isinstance(error, Refused):
                code = error.code
            elif isinstance(error, tf.errors.OpError):
                code = code_of(error)
            self._set(newest, "END", code, str(error))
            return
        with self.changed:
            old = list(self.served)
            self.served[newest] = servable
        self._set(newest, "AVAILABLE")
        for version in old:
            self._set(version, "UNLOADING")
            with self.changed:
                gone = self.served.pop(version)
                self.changed.wait_for(lambda gone=gone: not gone.users)
            gone.close()
            self._set(version, "END")

    def _set(self, version, state, code="OK", message=""):
        with self.changed:
            self.states[version] = [state, code, message]

    @contextlib.contextmanager
    def use(self, spec):
        """Gives the version and the servable of a ModelSpec."""
        with self.changed:
            which, version = f"Latest({spec.name})", max(self.served, default=0)
            if spec.version_label:
                version = self.labels.get(spec.version_label)
                if version is None:
                    raise Refused(
                        "INVALID_ARGUMENT",
                        "Unrecognized servable version label: "
                        f"{spec.version_label}",
                    )
            elif spec.HasField("version"):
                version = spec.version.value
                which = f"Specific({spec.name}, {version})"
            if version not in self.served:
                raise Refused(
                    "NOT_FOUND", f"Servable not found for request: {which}"
                )
            servable = self.served[version]
            servable.users += 1
        try:
            yield version, servable
        finally:
            with self.changed:
                servable.users -= 1
                self.changed.notify_all()


class Core:
    """The models of a server, and what it answers with."""

    def __init__(self, models):
        self.models = models  # name: Versions
        self.unavailable, self.pause, self.most = 0, 0.0, 2**31
        self.calls = 0
        self.lock = threading.Lock()
        for versions in models.values():
            versions.look()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            time.sleep(POLL)
            for versions in self.models.values():
                versions.look()

    def use(self, spec):
        nothing = Versions(base=None, labels={})
        return self.models.get(spec.name, nothing).use(spec)

    def predict(self, request):
        with self.lock:
            self.calls += 1
            self.unavailable -= 1
            if self.unavailable >= 0:
                raise Refused("UNAVAILABLE", "made to be unavailable")
        time.sleep(self.pause)
        for tensor in request.inputs.values():
            rows = tensor.tensor_shape.dim[0].size
            if rows > self.most:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Task size {rows} is larger than maximum input batch "
                    f"size {self.most}",
                )
        response = predict_pb2.PredictResponse()
        with self.use(request.model_spec) as (version, servable):
            for name, value in servable.predict(request).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = version
        return response

    def metadata(self, request):
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self.use(request.model_spec) as (version, servable):
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, request):
        spec = request.model_spec
        response = get_model_status_pb2.GetModelStatusResponse()
        states = {}
        if spec.name in self.models:
            states = dict(self.models[spec.name].states)
        if not states:
            raise Refused(
                "NOT_FOUND", f"Could not find any versions of model {spec.name}"
            )
        if spec.HasField("version"):
            version = spec.version.value
            if version not in states:
                raise Refused(
                    "NOT_FOUND",
                    f"Could not find version {version} of model {spec.name}",
                )
            states = {version: states[version]}
        for version, (state, code, message) in states.items():
            entry = response.model_version_status.add()
            entry.version, entry.state = version, STATE.Value(state)
            entry.status.error_code = getattr(grpc.StatusCode, code).value[0]
            entry.status.error_message = message
        return response


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core, token):
        self.core, self.token = core, token

    def Predict(self, request, context):
        return answer(self.core.predict, request, context, self.token)

    def GetModelMetadata(self, request, context):
        return answer(self.core.metadata, request, context, self.token)


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core, token):
        self.core, self.token = core, token

    def GetModelStatus(self, request, context):
        return answer(self.core.status, request, context, self.token)


def answer(method, request, context, token):
    try:
        check_token(
            dict(context.invocation_metadata()).get("authorization"), token
        )
        return method(request)
    except Refused as refused:
        code = getattr(grpc.StatusCode, refused.code)
        context.abort(code, refused.message)


def check_token(header, token):
    """What a proxy does; TensorFlow Serving itself knows no tokens."""
    if token is not None and header != f"Bearer {token}":
        raise Refused("UNAUTHENTICATED", "missing or wrong bearer token")


PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict)?"
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
        """A request of a kind with the ModelSpec of the path, and its end."""
        found = PATH.fullmatch(self.path)
        if not found:
            raise Refused(
                "INVALID_ARGUMENT",
                f"Malformed request: {self.command} {self.path}",
            )
        name, version, label, rest = found.groups()
        request = kind()
        request.model_spec.name = urllib.parse.unquote(name)
        if version:
            request.model_spec.version.value = int(version)
        elif label:
            request.model_spec.version_label = urllib.parse.unquote(label)
        return request, rest

    def get(self, body):
        core = self.server.core
        if self.path == "/test":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return {"calls": core.calls, "rss": pages * 4096}
        request, rest = self.asked(get_model_status_pb2.GetModelStatusRequest)
        if rest is None:
            return as_dict(core.status(request))
        request, rest = self.asked(
            get_model_metadata_pb2.GetModelMetadataRequest
        )
        request.metadata_field.append("signature_def")
        response = core.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            "model_spec": as_dict(response.model_spec),
            "metadata": {"signature_def": as_dict(signatures)},
        }

    def post(self, body):
        core = self.server.core
        if self.path == "/test":
            for name, value in json.loads(body).items():
                setattr(core, name, value)
            return {}
        request, _ = self.asked(predict_pb2.PredictRequest)
        try:
            given = json.loads(body)
        except ValueError as error:
            raise Refused(
                "INVALID_ARGUMENT", f"JSON Parse error: {error}"
            ) from None
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
        columns = named_columns(given, inputs)
        for key, values in columns.items():
            request.inputs[key].CopyFrom(
                tensor_of_json(values, tf.as_dtype(inputs[key].dtype))
            )
        outputs = {
            key: json_of_tensor(key, tf.make_ndarray(value))
            for key, value in core.predict(request).outputs.items()
        }
        (only,) = outputs.values() if len(outputs) == 1 else (None,)
        if "inputs" in given:
            return {"outputs": outputs if only is None else only}
        if only is None:
            only = [
                dict(zip(outputs, row, strict=True))
                for row in zip(*outputs.values(), strict=True)
            ]
        return {"predictions": only}

    def log_message(self, *args):
        pass


def as_dict(message):
    return MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def named_columns(given, inputs):
    """Values by the names of inputs, of the row or the columnar format."""
    if "instances" in given and "inputs" in given:
        raise Refused(
            "INVALID_ARGUMENT",
            "Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist",
        )
    if "inputs" in given:
        values = given["inputs"]
        if not isinstance(values, dict) or set(values) == {"b64"}:
            values = {next(iter(inputs)): values}
        for key in inputs:
            if key not in values:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Missing named input: {key} in 'inputs' object.",
                )
        return {key: values[key] for key in inputs}
    if "instances" not in given:
        raise Refused("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
    rows = given["instances"]
    if not isinstance(rows, list) or not rows:
        raise Refused("INVALID_ARGUMENT", "No values in 'instances' array")
    if not isinstance(rows[0], dict) or set(rows[0]) == {"b64"}:
        return {next(iter(inputs)): rows}
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(inputs):
            raise Refused(
                "INVALID_ARGUMENT",
                f"Failed to process element: {i} of 'instances' list. keys "
                f"must be equal to: {','.join(inputs)}",
            )
    return {key: [row[key] for row in rows] for key in inputs}


def tensor_of_json(values, dtype):
    if dtype != tf.string:
        with contextlib.suppress(ValueError):  # which is told of below
            array = np.array(values)
            if array.dtype.kind in "if":
                return tf.make_tensor_proto(array, dtype)
    shape, flat, first = [], [], values
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None

    def fill(value, level):
        if isinstance(value, list):
            if level >= len(shape) or len(value) != shape[level]:
                raise Refused(
                    "INVALID_ARGUMENT",
                    f"Encountered list at unexpected size: {len(value)} at "
                    f"level: {level}",
                )
            for item in value:
                fill(item, level + 1)
            return
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if level != len(shape):
            raise Refused(
                "INVALID_ARGUMENT",
                f"JSON Value: {value} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}",
            )
        if dtype == tf.string and isinstance(value, dict) and "b64" in value:
            try:
                flat.append(base64.b64decode(value["b64"], validate=True))
            except ValueError:
                raise Refused(
                    "INVALID_ARGUMENT", "Unable to base64 decode"
                ) from None
        elif dtype == tf.string and isinstance(value, str):
            flat.append(value.encode())
        elif dtype != tf.string and number:
            flat.append(value)
        else:
            raise Refused(
                "INVALID_ARGUMENT",
                f"JSON Value: {json.dumps(value)} Type: "
                f"{type(value).__name__} is not of expected type: {dtype.name}",
            )

    fill(values, 0)
    array = np.array(flat, dtype.as_numpy_dtype).reshape(shape)
    return tf.make_tensor_proto(array, dtype, shape)


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--token")
    parser.add_argument("--tls", type=Path, help="folder of cert and key")
    parser.add_argument("--limit", type=int, default=2**31 - 1)
    arguments = parser.parse_args()
    core = Core(
        {
            name: Versions(arguments.folder / name, LABELS.get(name, {}))
            for name in MODELS
        }
    )
    server = grpc.server(
        futures.ThreadPoolExecutor(32),
        options=[("grpc.max_receive_message_length", arguments.limit)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Predictions(core, arguments.token), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        Models(core, arguments.token), server
    )
    rest = RestServer(("127.0.0.1", 0), Rest)
    rest.core, rest.token = core, arguments.token
    rest.limit = arguments.limit
    if arguments.tls:
        certificate = arguments.tls / "localhost.crt"
        key = arguments.tls / "localhost.key"
        credentials = grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())]
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        rest.socket = context.wrap_socket(rest.socket, server_side=True)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    print(json.dumps({"grpc": port, "rest": rest.server_port}), flush=True)
    sys.stdin.read()  # whoever started it is gone
    server.stop(0)


class Loopback:
    """A process of this file, as a test sees it."""

    def __init__(self, process, folder):
        ports = json.loads(process.stdout.readline())
        self.grpc, self.rest = (f"127.0.0.1:{port}" for port in ports.values())
        self.folder = folder

    def test(self, **faults):
        """Sets faults.

        `unavailable`, how many requests to refuse; `pause`, seconds before
        each; `most`, rows of one as where `--enable_batching` is on.
        """
        body = json.dumps(faults).encode()
        urllib.request.urlopen(f"http://{self.rest}/test", body).close()

    def seen(self):
        """Requests so far, and bytes of memory."""
        with urllib.request.urlopen(f"http://{self.rest}/test") as answer:
            return json.load(answer)


@contextlib.contextmanager
def start(folder, *options):
    """Runs this file; gives a `Loopback`."""
    with subprocess.Popen(
        [sys.executable, __file__, folder, *map(str, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield Loopback(process, folder)


class Real:
    """A TensorFlow Serving server that somebody else has started.

    `TF_SERVING_ADDRESS` is `host:port` of gRPC; REST is on the next port.
    `TF_SERVING_FOLDER` is the folder in which it looks for `MODELS`.
    """

    def __init__(self, version):
        self.grpc = os.environ["TF_SERVING_ADDRESS"]
        host, _, port = self.grpc.rpartition(":")
        self.rest = f"{host}:{int(port) + 1}"
        self.folder = Path(os.environ["TF_SERVING_FOLDER"])
        if not (self.folder / "gcvit" / "1").exists():
            publish(version, self.folder / "gcvit" / "1")


def publish(version, path):
    """Copies a version into a served folder, whole or not at all."""
    beside = path.with_name(f".writing-{path.name}")
    shutil.copytree(version, beside)
    os.rename(beside, path)


if __name__ == "__main__":
    main()
