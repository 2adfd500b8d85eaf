"""What the client brings back, over both protocols; see tests/serving.py."""

import shutil

import numpy as np
import pytest
import serving
import tensorflow as tf
from client_help import NOWHERE, assert_right, await_version, encoded
from tensorflow_serving.apis import prediction_log_pb2

import gcvit_keras
from gcvit_export import (
    InvalidImageError,
    MessageTooLargeError,
    ModelNotFoundError,
    ServingClient,
    VersionStatus,
)


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

    def status(self, model):
        return [VersionStatus(self.served, "AVAILABLE", "")]

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


@pytest.fixture(scope="session")
def pyramid(exported, pixels):
    return gcvit_keras.feature_pyramid(exported[0])(pixels)


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


def test_version_and_label_choose_a_version(server, connect, pixels, scores):
    for choice in ({"version": 1}, {"label": "stable"}):
        found = connect(server, batch_size=3, **choice).predict(pixels)
        np.testing.assert_allclose(found, scores, atol=1e-5)


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


def test_more_rows_than_a_batching_server_takes_go_in_parts(
    faulty, connect, pixels, scores
):
    faulty.test(most=2)
    found = connect(faulty).predict(pixels)
    np.testing.assert_allclose(found, scores, atol=1e-5)


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
        assert await_version(client, 1).state == "AVAILABLE"


@pytest.fixture(scope="session")
def pair(server, tmp_path_factory):
    """A server that serves a model of two outputs, one of them integers."""

    @tf.function(
        input_signature=[tf.TensorSpec((None, 2, 2, 3), name="images")]
    )
    def serve_images(images):
        rows = tf.shape(images)[0]
        return {
            "age": tf.reduce_mean(images, (1, 2, 3)),
            "count": tf.fill([rows, 2], 7),
        }

    folder = tmp_path_factory.mktemp("pair")
    signatures = {"serve_images": serve_images.get_concrete_function()}
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    if not (server.folder / "pair" / "1").exists():
        serving.publish(folder, server.folder / "pair" / "1")
    with ServingClient(server.grpc, "pair") as client:
        await_version(client, 1)
    return server


def test_several_outputs_come_by_their_names(pair, connect, images):
    x = images(3, 2, 2, 3)
    found = connect(pair, "pair", batch_size=2).predict(x)
    assert set(found) == {"age", "count"}
    np.testing.assert_allclose(found["age"], x.mean((1, 2, 3)), rtol=1e-5)
    assert found["count"].tolist() == [[7, 7]] * 3
    assert found["count"].dtype == "int32"
