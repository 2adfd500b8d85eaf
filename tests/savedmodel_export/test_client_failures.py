"""What a client says of requests that cannot be answered."""

import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import serving
from client_help import NOWHERE, assert_right, await_version
from tensorflow.core.protobuf import saved_model_pb2

from gcvit_export import (
    InvalidImageError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ServingClient,
    ServingError,
    SignatureNotFoundError,
    VersionNotFoundError,
)


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


def test_a_model_of_another_kind_is_no_fault_of_the_images(
    server, connect, files
):
    with pytest.raises(SignatureNotFoundError, match="boxes"):
        connect(server).detect(files[:2], masks=False)


def test_wrong_size_tells_the_right_one(server, connect, images):
    with pytest.raises(
        InvalidRequestError,
        match=r"serve_images does not take `images` \(2, 32, 32, 3\); .*64",
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
        (np.full((1, 64, 64, 3), -1), "from -1 to -1"),
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
        {"label": "stable", "version": 1},
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
    [b"{}", b"<!doctype html>", b"[" * 10**5, b"null"],
)
def test_a_server_that_is_another_one_is_said_to_be(content, pixels):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        other.content = content
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{other.server_port}"
        with ServingClient(address, protocol="rest") as client:
            for call in (lambda: client.predict(pixels[:1]), client.status):
                with pytest.raises(
                    ServingError, match="does not answer as TensorFlow Serving"
                ):
                    call()
        other.shutdown()


def test_a_too_large_answer_is_an_error(server, connect):
    client = connect(server, max_message_bytes=3)
    with pytest.raises(MessageTooLargeError, match="larger than") as caught:
        client.status()
    assert caught.value.code == "RESOURCE_EXHAUSTED"
