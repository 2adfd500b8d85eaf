"""How requests travel: time, retries, TLS, and what a client imports."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import serving
import tensorflow as tf
from client_help import NOWHERE
from serving_rest import HTTP_STATUS
from tensorflow_serving.apis import (
    get_model_status_pb2,
    predict_pb2,
    prediction_log_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from gcvit_export import (
    DeadlineError,
    InvalidRequestError,
    ServingClient,
    ServingError,
    UnauthenticatedError,
    UnavailableError,
)
from gcvit_export.client.errors import HTTP_CODES
from gcvit_export.client.messages import FIELDS, array_of, pb

TLS = Path(__file__).parent.parent / "data" / "tls"
CERTIFICATE = TLS / "localhost.crt"


def test_a_slow_answer_is_late(faulty, connect, pixels):
    faulty.test(pause=2.0)
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=r"no answer in 0\.3 s") as caught:
        connect(faulty, timeout=0.3).predict(pixels)
    assert time.monotonic() - start < 1
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_unavailable_is_tried_again(faulty, connect, pixels, scores):
    """Also with more bytes than gRPC keeps for that unless told to."""
    many = np.concatenate([pixels, pixels])
    assert many.nbytes > 256 * 2**10
    before = faulty.seen()["calls"]
    faulty.test(unavailable=2)
    found = connect(faulty).predict(many)
    np.testing.assert_allclose(found, [*scores, *scores], atol=1e-5)
    assert faulty.seen()["calls"] == before + 3


def test_retries_are_counted(faulty, connect, pixels):
    before = faulty.seen()["calls"]
    faulty.test(unavailable=9)
    with pytest.raises(UnavailableError):
        connect(faulty, retries=1).predict(pixels)
    assert faulty.seen()["calls"] == before + 2


def test_retries_end_at_the_deadline(faulty, pixels):
    """Over gRPC; over REST each attempt has the time."""
    faulty.test(unavailable=9)
    start = time.monotonic()
    with ServingClient(faulty.grpc, timeout=0.8) as client:
        with pytest.raises((UnavailableError, DeadlineError)):
            client.predict(pixels)
    assert time.monotonic() - start < 1.1


def test_nothing_else_is_tried_again(loopback, connect, images):
    before = loopback.seen()["calls"]
    with pytest.raises(InvalidRequestError):
        connect(loopback).predict(images(1, 32, 32, 3))
    assert loopback.seen()["calls"] == before + 1


ALONE = """
import sys
import numpy as np
import gcvit_export
for address in sys.argv[2:]:
    client = gcvit_export.ServingClient(
        address, protocol=sys.argv[1], retries=0
    )
    try:
        print(client.predict(np.zeros((1, 64, 64, 3))).shape)
    except gcvit_export.UnavailableError as error:
        print(error)
print(sorted({"tensorflow", "keras", "tensorflow_serving"} & set(sys.modules)))
"""


def test_a_client_imports_no_tensorflow(loopback, protocol):
    """Which would take seconds, to say that nobody is there."""
    process = subprocess.run(
        [sys.executable, "-c", ALONE, protocol, NOWHERE]
        + [getattr(loopback, protocol)],
        capture_output=True,
        text=True,
        check=True,
    )
    nobody, shape, imported = process.stdout.splitlines()
    # In plain words, none of urllib3's.
    assert nobody == f"{NOWHERE} cannot be reached: Connection refused"
    assert (shape, imported) == ("(1, 10)", "[]")


OFFICIAL = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "PredictionLog": prediction_log_pb2.PredictionLog,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "ModelServerConfig": model_server_config_pb2.ModelServerConfig,
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_messages_are_those_of_the_server(name):
    def compare(ours, official):
        for field in ours.fields:
            other = official.fields_by_name[field.name]
            assert field.number == other.number, field.full_name
            enum = other.type == other.TYPE_ENUM  # sent as an int32
            assert enum or field.type == other.type, field.full_name
            assert field.is_repeated == other.is_repeated, field.full_name
            if field.message_type:
                compare(field.message_type, other.message_type)

    assert name in FIELDS
    compare(getattr(pb, name).DESCRIPTOR, OFFICIAL[name].DESCRIPTOR)


@pytest.mark.parametrize(
    "values",
    [
        np.float32([[1.5, -2], [3, 4]]),
        np.zeros((2, 3), "float32"),
        np.float64([1, 2]),
        np.int64([[7], [8]]),
        np.array([True, False, False]),
        np.array([b"a", b"\0", b""], object),
        np.zeros((0, 3), "float32"),
    ],
)
def test_tensors_are_read_as_tensorflow_reads_them(values):
    proto = tf.make_tensor_proto(values)
    found = array_of(pb.Tensor.FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(found, values)
    short = tf.make_tensor_proto(values)
    short.ClearField("tensor_content")
    for field in ("float_val", "int64_val"):  # the last value stands for all
        if values.dtype == {"float_val": "f4", "int64_val": "i8"}[field]:
            getattr(short, field).extend(values.ravel()[:1].tolist())
            found = array_of(pb.Tensor.FromString(short.SerializeToString()))
            np.testing.assert_array_equal(found, tf.make_ndarray(short))


def test_a_server_that_starts_meanwhile_is_found(pixels):
    """At the next retry: gRPC by itself would look again after a second."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    empty = grpc.server(futures.ThreadPoolExecutor(1))

    def start():
        empty.add_insecure_port(address)
        empty.start()

    timer = threading.Timer(0.2, start)
    timer.start()
    began = time.monotonic()
    with ServingClient(address) as client:
        with pytest.raises(ServingError) as caught:
            client.predict(pixels)
    assert caught.value.code == "UNIMPLEMENTED"
    assert time.monotonic() - began < 1
    timer.join()
    empty.stop(0)


@pytest.fixture(scope="session")
def guarded(exported, tmp_path_factory):
    """A server with TLS, a token, and room for two images a message."""
    base = tmp_path_factory.mktemp("guarded")
    for name in serving.MODELS:
        (base / name).mkdir()
    serving.publish(exported[1], base / "gcvit" / "1", warm_up=False)
    with serving.start(
        base, "--tls", TLS, "--token", "secret", "--limit", 200_000
    ) as server:
        yield server


def test_tls_and_token_are_accepted(guarded, connect, pixels, scores):
    client = connect(guarded, tls=CERTIFICATE, token="secret")
    np.testing.assert_allclose(
        client.predict(pixels[:1]), scores[:1], atol=1e-5
    )


@pytest.mark.parametrize("token", [None, "guess"])
def test_a_wrong_token_is_refused(guarded, connect, pixels, token):
    client = connect(guarded, tls=CERTIFICATE, token=token)
    with pytest.raises(UnauthenticatedError) as caught:
        client.predict(pixels)
    assert caught.value.code == "UNAUTHENTICATED"
    assert "secret" not in str(caught.value)


def test_an_unknown_certificate_is_refused(guarded, connect, pixels):
    with pytest.raises(UnavailableError):
        connect(guarded, tls=True, retries=0).predict(pixels)


def test_a_batch_that_the_server_finds_too_large_goes_in_parts(
    guarded, connect, pixels, scores
):
    client = connect(guarded, tls=CERTIFICATE, token="secret")
    np.testing.assert_allclose(client.predict(pixels), scores, atol=1e-5)


@pytest.mark.serving
def test_the_server_is_tensorflow_serving():
    if "TF_SERVING_ADDRESS" not in os.environ:
        pytest.skip(
            "TF_SERVING_ADDRESS is not set: the tests of this file ran against "
            "the loopback only"
        )


def test_http_codes_are_those_of_the_server():
    """The two tables were written apart; a status has one meaning."""
    for code, status in HTTP_STATUS.items():
        if code not in ("FAILED_PRECONDITION", "OUT_OF_RANGE"):  # 400 too
            assert HTTP_CODES[status] == code
