"""The client, against a server process; see tests/serving.py."""

import http.server
import io
import json
import os
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path
from unittest import mock

import grpc
import numpy as np
import pytest
import serving
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

import gcvit_keras
from gcvit_export import (
    DeadlineError,
    InvalidImageError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ServingClient,
    ServingError,
    SignatureNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    VersionNotFoundError,
)
from gcvit_export.client.transport import HTTP_CODES

NOWHERE = "127.0.0.1:1"
"""Where nobody answers: what fails otherwise than that was not sent."""

TLS = Path(__file__).parent.parent / "data" / "tls"


@pytest.fixture(params=["grpc", "rest"])
def protocol(request):
    return request.param


@pytest.fixture
def connect(protocol):
    """Makes clients of a server, as of the protocol."""
    opened = []

    def make(server, model="gcvit", **options):
        address = server if server == NOWHERE else getattr(server, protocol)
        client = ServingClient(address, model, protocol=protocol, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def faulty(loopback):
    """The server on the loopback, for faults that end with the test."""
    yield loopback
    loopback.test(unavailable=0, pause=0.0, most=2**31)


@pytest.fixture(scope="session")
def pixels():
    """Five images for the model."""
    shape = (5, 64, 64, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="session")
def scores(exported, pixels):
    """What the model makes of them."""
    return np.asarray(exported[0](pixels))


@pytest.fixture(scope="session")
def pyramid(exported, pixels):
    return gcvit_keras.feature_pyramid(exported[0])(pixels)


def encoded(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(content, kind)
    return content.getvalue()


@pytest.fixture
def files(pixels):
    """The images as files."""
    return [encoded(image) for image in pixels]


def assert_right(answer, scores):
    best = np.argsort(-scores)[:5]
    assert answer.error is None
    assert answer.classes == tuple(best)
    assert answer.labels == tuple(f"class {k}" for k in best)
    np.testing.assert_allclose(answer.scores, scores[best], atol=1e-5)


def await_version(client, version, state="AVAILABLE"):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            states = {s.version: s for s in client.status()}
            if states[version].state in (state, "END"):
                assert states[version].state == state, states[version].error
                return states[version]
        except (ModelNotFoundError, KeyError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"version {version} never is {state}")


# What comes back.


def test_predict_returns_the_models_probabilities(
    server, connect, pixels, scores
):
    found = connect(server).predict(pixels)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, scores, atol=1e-5)


def test_batches_are_joined_in_order(server, connect, pixels, scores):
    found = connect(server, batch_size=2).predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)


def test_no_request_holds_more_than_batch_size(loopback, connect, pixels):
    before = loopback.seen()["calls"]
    connect(loopback, batch_size=2).predict(pixels)
    assert loopback.seen()["calls"] == before + 3


class Swapping:
    """A server on which version 2 takes the place of 1 after one request.

    Its scores are the version that answers.
    """

    def __init__(self):
        self.served = 1

    def metadata(self, model):
        return {
            "model_spec": {"version": self.served},
            "metadata": {"signature_def": {"signature_def": {}}},
        }

    def predict(self, model, signature, name, rows, wanted):
        if model.version not in (None, self.served):
            raise ModelNotFoundError("Servable not found")
        answered, self.served = self.served, 2
        return {"probabilities": np.full((len(rows), 1), answered)}

    def close(self):
        pass


def test_one_version_answers_all_batches(pixels):
    with ServingClient(NOWHERE, batch_size=2) as client:
        client._open = Swapping()
        assert client.predict(pixels).tolist() == [[2]] * 5


def test_features_are_the_pyramid(server, connect, pyramid, pixels):
    found = connect(server, batch_size=2).features(pixels)
    for name, expected in pyramid.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-4)
    assert found["pooled"].shape == (5, 128)


def test_classify_names_the_best_classes(server, connect, files, scores):
    answers = connect(server, batch_size=2).classify(files)
    for answer, expected in zip(answers, scores, strict=True):
        assert_right(answer, expected)


def test_files_of_any_length_arrive_whole(server, connect, files, scores):
    """Also one that ends in zeros, which numpy's strings lose."""
    black = encoded(np.zeros((64, 64, 3)), "BMP")
    assert black.endswith(b"\0")
    answers = connect(server).classify([black, files[0]])
    assert answers[0].error is None
    assert_right(answers[1], scores[0])


def test_classify_reads_paths(server, connect, files, scores, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(files[1])
    for answer in connect(server).classify([path, str(path)]):
        assert_right(answer, scores[1])


def test_a_bad_image_leaves_the_others_right(
    server, connect, files, scores, tmp_path
):
    cut = encoded(np.zeros((64, 64, 3)), "JPEG")[:200]
    missing = tmp_path / "none.png"
    answers = connect(server).classify(
        [files[0], b"text", cut, files[3], b"", missing]
    )
    assert_right(answers[0], scores[0])
    assert_right(answers[3], scores[3])
    for i, name in ((1, "image 1"), (2, "image 2"), (4, "image 4")):
        assert isinstance(answers[i].error, InvalidImageError)
        assert answers[i].classes == answers[i].scores == ()
        assert str(answers[i].error).startswith(name)
    assert isinstance(answers[5].error, InvalidImageError)
    assert str(answers[5].error).startswith(
        f"{missing} cannot be read: No such"
    )


def mean_colour(folder):
    """A model that refuses a batch as a whole for one broken image."""

    @tf.function(
        input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")]
    )
    def serve_bytes(image_bytes):
        mean = tf.map_fn(
            lambda content: tf.reduce_mean(
                tf.cast(tf.io.decode_png(content, 3), tf.float32), (0, 1)
            ),
            image_bytes,
            fn_output_signature=tf.TensorSpec((3,), tf.float32),
        )
        return {
            "top_classes": tf.broadcast_to(tf.range(3), tf.shape(mean)),
            "top_labels": tf.broadcast_to(
                tf.constant(["red", "green", "blue"]), tf.shape(mean)
            ),
            "top_scores": mean,
            "valid": tf.ones(tf.shape(mean)[:1], tf.bool),
        }

    module = tf.Module()
    signature = serve_bytes.get_concrete_function()
    tf.saved_model.save(
        module, str(folder), signatures={"serve_bytes": signature}
    )
    return folder


@pytest.fixture(scope="session")
def strict(server, tmp_path_factory):
    """A server that serves a model that refuses whole batches."""
    if not (server.folder / "strict" / "1").exists():
        version = mean_colour(tmp_path_factory.mktemp("strict"))
        serving.publish(version, server.folder / "strict" / "1")
    with ServingClient(server.grpc, "strict") as client:
        await_version(client, 1)
    return server


def test_one_error_an_image_where_a_batch_is_refused_whole(
    strict, connect, files, pixels
):
    files[1], files[4] = b"text", files[4][:60]
    answers = connect(strict, "strict").classify(files)
    for i in (1, 4):
        assert isinstance(answers[i].error, InvalidImageError)
        assert str(answers[i].error).startswith(f"image {i} was refused")
    for i in (0, 2, 3):
        np.testing.assert_allclose(
            answers[i].scores, pixels[i].mean((0, 1)), rtol=1e-5
        )


def test_status_lists_versions_and_states(server, connect):
    (status,) = connect(server).status()
    assert (status.version, status.state, status.error) == (1, "AVAILABLE", "")


def test_metadata_tells_signatures(server, connect):
    metadata = connect(server).metadata()
    assert metadata.version == 1
    assert set(metadata.signatures) == {
        "serving_default",
        "serve_bytes",
        "features",
    }
    signature = metadata.signatures["serving_default"]
    assert signature.inputs["images"].dtype == "DT_FLOAT"
    assert signature.inputs["images"].shape == (None, 64, 64, 3)
    assert signature.outputs["probabilities"].shape == (None, 10)


def test_version_and_label_choose_a_version(server, connect, pixels, scores):
    for choice in ({"version": 1}, {"label": "stable"}):
        found = connect(server, batch_size=3, **choice).predict(pixels)
        np.testing.assert_allclose(found, scores, atol=1e-5)


# What fails, and how.


def test_unknown_model(server, connect, pixels):
    client = connect(server, "other")
    with pytest.raises(ModelNotFoundError, match=r"Latest\(other\)") as caught:
        client.predict(pixels)
    assert caught.value.code == "NOT_FOUND"
    with pytest.raises(ModelNotFoundError, match="versions of model other"):
        client.status()


def test_unknown_version_names_those_there_are(server, connect, pixels):
    client = connect(server, version=9)
    with pytest.raises(
        VersionNotFoundError,
        match=r"gcvit has no version 9 .* 1 \(AVAILABLE\)",
    ):
        client.predict(pixels)


def test_unknown_model_with_a_version_is_an_unknown_model(
    server, connect, pixels
):
    with pytest.raises(ModelNotFoundError) as caught:
        connect(server, "other", version=9).predict(pixels)
    assert not isinstance(caught.value, VersionNotFoundError)


def test_unknown_label(server, connect, pixels):
    with pytest.raises(VersionNotFoundError, match="label: canary"):
        connect(server, label="canary").predict(pixels)


def test_unknown_signature(server, connect, exported, tmp_path, pixels):
    if not (server.folder / "bare" / "1").exists():
        version = shutil.copytree(exported[1], tmp_path / "1")
        written = version / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(written.read_bytes())
        del saved.meta_graphs[0].signature_def["features"]
        written.write_bytes(saved.SerializeToString())
        shutil.rmtree(version / "assets.extra")  # has requests for features
        serving.publish(version, server.folder / "bare" / "1")
    client = connect(server, "bare")
    await_version(client, 1)
    with pytest.raises(SignatureNotFoundError, match='"features" not found'):
        client.features(pixels)


def test_wrong_size_tells_the_right_one(server, connect, images):
    with pytest.raises(
        InvalidRequestError,
        match=r"takes `images` \(None, 64, 64, 3\)\. .* \(2, 32, 32, 3\)",
    ):
        connect(server).predict(images(2, 32, 32, 3))


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.zeros((64, 64, 3)), r"shape \(64, 64, 3\)"),
        (np.zeros((0, 64, 64, 3)), r"shape \(0, 64, 64, 3\)"),
        (np.full((1, 64, 64, 3), "a"), "array of <U1"),
        (np.zeros((1, 64, 64, 3), bool), "array of bool"),
        (np.full((1, 64, 64, 3), 255.5), "from 255.5 to 255.5"),
        (np.full((1, 64, 64, 3), -1), "from -1.0 to -1.0"),
        (np.full((1, 64, 64, 3), np.nan), "from nan to nan"),
    ],
)
def test_bad_pixels_are_not_sent(connect, bad, message):
    for call in ("predict", "features"):
        with pytest.raises(ValueError, match=f"`images` must .*{message}"):
            getattr(connect(NOWHERE), call)(bad)


@pytest.mark.parametrize(
    "bad",
    [[], iter(()), None, 7, b"bytes", bytearray(3), "path.png", Path("a.png")],
)
def test_classify_takes_a_list(connect, bad):
    with pytest.raises(ValueError, match="`images` must be a list of at least"):
        connect(NOWHERE).classify(bad)


@pytest.mark.parametrize("bad", [None, 7, np.zeros((4, 4, 3)), ["path.png"]])
def test_classify_takes_bytes_and_paths(connect, bad):
    with pytest.raises(ValueError, match="`images` must hold bytes or paths"):
        connect(NOWHERE).classify([b"first", bad])


def test_classify_takes_any_bytes_from_any_iterable(
    server, connect, files, scores
):
    kinds = (bytes, bytearray, memoryview)
    given = (kind(file) for kind, file in zip(kinds, files, strict=False))
    for answer, row in zip(
        connect(server).classify(given), scores[:3], strict=True
    ):
        assert_right(answer, row)


def test_a_path_that_cannot_be_is_that_images_error(
    server, connect, files, scores
):
    bad, good = connect(server).classify(["a\0b", files[0]])
    assert isinstance(bad.error, InvalidImageError)
    assert "cannot be read: embedded null byte" in str(bad.error)
    assert_right(good, scores[0])


def test_a_closed_client_says_so(connect, pixels):
    client = connect(NOWHERE)
    client.close()
    client.close()
    for call in (lambda: client.predict(pixels), client.status):
        with pytest.raises(ValueError, match="this client is closed"):
            call()


@pytest.mark.parametrize(
    "options",
    [
        {"address": "http://localhost:8501"},
        {"address": "localhost"},
        {"address": "localhost:0"},
        {"address": "localhost:65536"},
        {"address": "localhost:²"},
        {"address": "user@host:8501"},
        {"address": "host?:8501"},
        {"address": "a host:8501"},
        {"address": "a..b:8501"},
        {"address": "a\\b:8501"},
        {"address": "a" * 64 + ":8501"},
        {"model": ""},
        {"model": None},
        {"label": ""},
        {"label": 1},
        {"protocol": "http"},
        {"version": "1"},
        {"version": -1},
        {"version": True},
        {"version": 1, "label": "stable"},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"timeout": "30"},
        {"retries": 5},
        {"retries": 1.0},
        {"retries": -1},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"max_message_bytes": 1e6},
        {"max_message_bytes": 0},
        {"max_message_bytes": 2**31},
        {"token": "secret"},
        {"token": "two words", "tls": True},
        {"token": "line\n", "tls": True},
        {"token": b"bytes", "tls": True},
        {"tls": "missing.pem"},
        {"tls": __file__},
        {"tls": 7},
        {"tls": 1},
        {"tls": ""},
        {"tls": []},
        {"tls": "", "token": "secret"},
    ],
)
def test_bad_options_name_themselves(options):
    for protocol in ("grpc", "rest"):
        with pytest.raises(ValueError, match=f"`{list(options)[0]}`") as caught:
            ServingClient(
                **{"address": NOWHERE, "protocol": protocol, **options}
            )
        assert "secret" not in str(caught.value)


def test_numbers_of_numpy_are_numbers(connect, server, pixels, scores):
    client = connect(
        server,
        version=np.int64(1),
        retries=np.int64(1),
        timeout=np.float32(30),
        batch_size=np.int32(2),
        max_message_bytes=np.int64(2**24),
    )
    np.testing.assert_allclose(client.predict(pixels), scores, atol=1e-5)


class Other(http.server.BaseHTTPRequestHandler):
    """A server that is another one."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.content)

    do_POST = do_GET

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    "content",
    [b"{}", b"<!doctype html>", b"[" * 10**5, b'{"outputs": {"a": 1, "b": 2}}'],
)
def test_a_server_that_is_another_one_is_said_to_be(content, pixels):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        other.content = content
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{other.server_port}"
        with ServingClient(address, protocol="rest") as client:
            for call in (
                lambda: client.predict(pixels),
                client.status,
                client.metadata,
            ):
                with pytest.raises(
                    ServingError, match="does not answer as TensorFlow Serving"
                ):
                    call()
        other.shutdown()


def test_no_tls_may_be_said(connect, server, pixels, scores):
    found = connect(server, tls=False).predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)


# Sizes.


def test_a_too_large_image_is_not_sent(connect, images):
    client = connect(NOWHERE, max_message_bytes=40_000)
    with pytest.raises(
        MessageTooLargeError, match="max_message_bytes`, 40,000"
    ):
        client.predict(images(1, 64, 64, 3))


def test_a_too_large_batch_goes_in_parts(
    loopback, connect, protocol, pixels, scores
):
    before = loopback.seen()["calls"]
    limit = {"grpc": 110_000, "rest": 200_000}[protocol]  # two images
    found = connect(loopback, max_message_bytes=limit).predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)
    assert before + 3 <= loopback.seen()["calls"] <= before + 4


def test_a_too_large_file_is_that_images_error(server, connect, files, scores):
    client = connect(server, max_message_bytes=20_000)
    large = encoded(np.random.default_rng(0).integers(0, 255, (99, 99, 3)))
    answers = client.classify([files[0], large, files[1]])
    assert isinstance(answers[1].error, MessageTooLargeError)
    assert str(answers[1].error).startswith("image 1: a request of ")
    assert_right(answers[0], scores[0])
    assert_right(answers[2], scores[1])


def test_a_too_large_answer_is_an_error(server, connect):
    client = connect(server, max_message_bytes=300)
    with pytest.raises(MessageTooLargeError, match="larger than") as caught:
        client.metadata()
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_more_rows_than_a_batching_server_takes_go_in_parts(
    faulty, connect, pixels, scores
):
    faulty.test(most=2)
    found = connect(faulty).predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)


# Time, and what is tried again.


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


def test_retries_end_at_the_deadline(faulty, connect, pixels):
    faulty.test(unavailable=9)
    start = time.monotonic()
    with pytest.raises((UnavailableError, DeadlineError)):
        connect(faulty, timeout=0.8).predict(pixels)
    assert time.monotonic() - start < 1.1


def test_nothing_else_is_tried_again(loopback, connect, images):
    before = loopback.seen()["calls"]
    with pytest.raises(InvalidRequestError):
        connect(loopback).predict(images(1, 32, 32, 3))
    assert loopback.seen()["calls"] == before + 1


def test_nobody_there(connect, pixels):
    with pytest.raises(UnavailableError, match="127.0.0.1"):
        connect(NOWHERE, retries=1).predict(pixels)


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


# TLS and tokens.


@pytest.fixture(scope="session")
def guarded(exported, tmp_path_factory):
    """A server with TLS, a token, and room for two images a message."""
    base = tmp_path_factory.mktemp("guarded")
    for name in serving.MODELS:
        (base / name).mkdir()
    serving.publish(exported[1], base / "gcvit" / "1")
    with serving.start(
        base, "--tls", TLS, "--token", "secret", "--limit", 200_000
    ) as server:
        yield server


CERTIFICATE = TLS / "localhost.crt"


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


# What TensorFlow Serving does, as the client relies on it.


def test_rows_are_answered_with_predictions(server, pixels, scores):
    body = {"instances": pixels[:2].tolist()}
    request = urllib.request.Request(
        f"http://{server.rest}/v1/models/gcvit:predict",
        json.dumps(body).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)["predictions"]
    np.testing.assert_allclose(found, scores[:2], atol=1e-5)


def test_a_malformed_path_is_a_bad_request(server):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{server.rest}/v1/models/gcvit/nothing")
    assert caught.value.code == 400
    assert "Malformed request" in json.load(caught.value)["error"]


@pytest.fixture
def predictions(server):
    """The official stub, without the client."""
    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def test_the_answer_tells_the_version(predictions, pixels):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "gcvit"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(pixels[:1]))
    answer = predictions.Predict(request)
    assert answer.model_spec.version.value == 1


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("image", np.zeros((1, 64, 64, 3), "float32"), "Sent extra: {image}"),
        ("images", np.zeros((1, 64, 64, 3), "float64"), "float"),
        ("images", np.array(["text"]), "float"),
    ],
)
def test_wrong_names_and_dtypes_are_invalid_arguments(
    predictions, name, value, message
):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "gcvit"
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with pytest.raises(grpc.RpcError) as caught:
        predictions.Predict(request)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert message in caught.value.details()


def test_a_version_serves_after_its_warm_up_only(loopback, exported, tmp_path):
    """One that its own warm-up breaks leaves the one before in place."""
    folder = loopback.folder / "warm"
    file = "assets.extra/tf_serving_warmup_requests"
    broken = shutil.copytree(exported[1], tmp_path / "2")
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "nothing"
    with tf.io.TFRecordWriter(str(broken / file)) as writer:
        writer.write(log.SerializeToString())
    with ServingClient(loopback.grpc, "warm") as client:
        assert (exported[1] / file).stat().st_size
        serving.publish(exported[1], folder / "1")
        assert await_version(client, 1).error == ""
        serving.publish(broken, folder / "2")
        assert '"nothing" not found' in await_version(client, 2, "END").error
        assert client.metadata().version == 1


def test_rest_needs_neither_tensorflow_nor_grpc(loopback, pixels, scores):
    missing = ("tensorflow", "tensorflow_serving", "grpc")
    with (
        mock.patch.dict(sys.modules, dict.fromkeys(missing)),
        ServingClient(loopback.rest, protocol="rest") as client,
    ):
        found = client.predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)


@pytest.mark.serving
def test_the_server_is_tensorflow_serving():
    if "TF_SERVING_ADDRESS" not in os.environ:
        pytest.skip(
            "TF_SERVING_ADDRESS is not set: the tests of this file ran against "
            "the loopback only"
        )


def test_http_codes_are_those_of_the_server():
    """The two tables were written apart; a status has one meaning."""
    for code, status in serving.HTTP_STATUS.items():
        if code not in ("FAILED_PRECONDITION", "OUT_OF_RANGE"):  # 400 too
            assert HTTP_CODES[status] == code
