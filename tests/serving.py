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
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import tensorflow as tf
from serving_models import Versions
from serving_rest import Refused, Rest, RestServer, check_token
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

MODELS = ("gcvit", "strict", "bare", "pair", "swap", "warm")
"""Models that the tests ask a server for."""

LABELS = {"gcvit": {"stable": 1}}

POLL = 0.1
"""Seconds between looks at the base path; TensorFlow Serving takes 1."""

STATE = get_model_status_pb2.ModelVersionStatus.State


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


def publish(version, path, warm_up=True):
    """Copies a version into a served folder, whole or not at all.

    Without its warm-up, which takes seconds, where most signatures are not
    asked for.
    """
    beside = path.with_name(f".writing-{path.name}")
    shutil.copytree(version, beside)
    if not warm_up:
        shutil.rmtree(beside / "assets.extra")
    os.rename(beside, path)


if __name__ == "__main__":
    main()
