"""Detectors as SavedModels: signatures, verification, server and client."""

import io
import json
import shutil

import keras
import numpy as np
import pytest
import serving
import tensorflow as tf
from detectors import detector
from PIL import Image

import gcvit_export.kinds.detector_files as kind
from gcvit_export import (
    InvalidImageError,
    ServingClient,
    VerificationError,
    export_saved_model,
    export_serving,
    verify,
)
from gcvit_export.samples import photographs
from gcvit_export.served import served
from gcvit_keras.detection import DetectionReader

LABELS = ["cat", "dog", "zebra"]
READER = DetectionReader(96, 160)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return detector()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The folder that a server mounts, and the version in it."""
    folder = tmp_path_factory.mktemp("serving")
    version = export_serving(
        model,
        folder,
        LABELS,
        name="gcvit",
        batch_sizes=[1],
        image_reader=READER,
    )
    return folder, version


def test_the_server_is_given_memory_for_large_images(exported):
    """1 GiB, 1 for weights, 1.25 for each of two batches of one image."""
    text = (exported[0] / "kubernetes.yaml").read_text()
    assert 'requests: {cpu: "2", memory: 5Gi}' in text


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported[1]))
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def pictures():
    """Images of three sizes."""
    sizes = (120, 160), (160, 120), (96, 96)
    return [photographs(*size, count=1)[0].astype("uint8") for size in sizes]


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def expected_of(model, pictures):
    return model.detect(
        pictures, short_side=READER.short_side, long_side=READER.long_side
    )


def assert_same(boxes, scores, classes, masks, expected):
    """Rows in order: the scores of this model are far enough apart."""
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-4)
    np.testing.assert_array_equal(classes, expected["classes"])
    np.testing.assert_allclose(boxes, expected["boxes"], atol=0.02)
    if masks is not None:
        assert masks.shape == expected["masks"].shape
        assert (masks != expected["masks"]).mean() < 1e-3


def test_an_export_is_verified_by_boxes_that_match(exported):
    found = exported[1].verification
    assert found.kind == "savedmodel detections"
    assert found.detections > 50
    assert found.agreement == 1
    assert found.difference < 1e-4
    written = json.loads((exported[1] / "verification.json").read_text())
    assert written["tolerance"] == 1e-3
    assert written["reads_files"]


def test_pixels_of_any_size_and_number(model, signatures):
    for shape in ((1, 64, 96, 3), (2, 70, 51, 3)):
        images = 255 * np.random.default_rng(1).random(shape, "float32")
        found = signatures["serve_images"](images=tf.constant(images))
        # Padded to multiples of 32, as `detect` pads.
        canvas = np.zeros((len(images), 96, 96, 3), "float32")
        canvas[:, : shape[1], : shape[2]] = images
        canvas = canvas[:, : -(-shape[1] // 32) * 32, : -(-shape[2] // 32) * 32]
        sizes = np.int32([shape[1:3]] * len(images))
        expected = model({"images": canvas, "sizes": sizes})
        for name in ("boxes", "scores", "classes", "count", "masks"):
            np.testing.assert_allclose(
                found[name], expected[name], atol=1e-2, err_msg=name
            )


def test_files_give_boxes_of_the_file_whatever_else_is_asked(
    model, signatures, pictures
):
    contents = [png(picture) for picture in pictures]
    contents.insert(1, b"no image")
    found = signatures["serve_bytes_masks"](image_bytes=tf.constant(contents))
    found = {name: value.numpy() for name, value in found.items()}
    assert found["valid"].tolist() == [True, False, True, True]
    assert found["count"][1] == 0
    assert set(found["labels"][1]) == {b""}
    rows = [0, 2, 3]
    for row, picture, expected in zip(
        rows, pictures, expected_of(model, pictures), strict=True
    ):
        count = found["count"][row]
        assert found["sizes"][row].tolist() == list(picture.shape[:2])
        masks = [
            np.asarray(Image.open(io.BytesIO(content)))
            for content in found["mask_png_bytes"][row, :count]
        ]
        assert set(np.unique(masks)) <= {0, 255}
        assert_same(
            found["boxes"][row, :count],
            found["scores"][row, :count],
            found["classes"][row, :count],
            np.array(masks) > 0,
            expected,
        )
        names = [LABELS[k].encode() for k in expected["classes"]]
        assert found["labels"][row, :count].tolist() == names
        assert not any(found["mask_png_bytes"][row, count:])


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    for name in serving.MODELS:
        (base / name).mkdir()
    shutil.copytree(exported[1], base / "gcvit" / "1")
    with serving.start(base) as loopback:
        yield loopback


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_detects_by_files(model, server, protocol, pictures, tmp_path):
    """The server has run the warm-up requests of every signature by then."""
    paths = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(png(picture))
    address = getattr(server, protocol)
    with ServingClient(address, protocol=protocol) as client:
        answers = client.detect([*paths, tmp_path / "nowhere.png", b"no"])
        plain = client.detect([paths[0]], masks=False)[0]
    assert isinstance(answers[3].error, InvalidImageError)
    assert isinstance(answers[4].error, InvalidImageError)
    for answer, expected in zip(
        answers, expected_of(model, pictures), strict=False
    ):
        assert answer.error is None
        assert_same(
            answer.boxes, answer.scores, answer.classes, answer.masks, expected
        )
        assert answer.labels == tuple(LABELS[k] for k in answer.classes)
        assert answer.size == answer.masks.shape[1:]
    assert plain.masks is None
    np.testing.assert_array_equal(plain.scores, answers[0].scores)


@pytest.mark.slow
def test_another_detector_is_not_verified(exported):
    other = detector(seed=7)
    with pytest.raises(VerificationError, match="detections in common"):
        verify(exported[1], other)


@pytest.mark.slow
def test_masks_that_are_wrong_are_not_verified(model, tmp_path, monkeypatch):
    def flipped(probabilities, *rest, original=kind.paste_masks):
        return original(1 - probabilities, *rest)

    monkeypatch.setattr(kind, "paste_masks", flipped)
    with pytest.raises(VerificationError, match="masks that overlap"):
        export_saved_model(model, tmp_path / "models", image_reader=READER)
    assert not list(tmp_path.iterdir())


def test_readers_and_activations_of_classifiers_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="DetectionReader"):
        export_saved_model(model, tmp_path, image_reader=224)
    with pytest.raises(ValueError, match="`activation` must be 'auto'"):
        export_saved_model(model, tmp_path, activation="softmax")
    with pytest.raises(ValueError, match="`labels` must be 3 names"):
        export_saved_model(model, tmp_path, ["cat"])
    with pytest.raises(ValueError, match="`long_side`"):
        DetectionReader(800, 600)


def test_half_precision_is_served_in_float32(model, pictures):
    """With the user's weights; nothing of the user's model changes."""
    half = detector(dtype="mixed_bfloat16")
    half.set_weights(model.get_weights())
    float32 = served(half).model
    assert half.compute_dtype == "bfloat16"
    assert float32.compute_dtype == "float32"
    images = pictures[0][None].astype("float32")
    found, expected = float32(images), model(images)
    for name in ("scores", "boxes"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
