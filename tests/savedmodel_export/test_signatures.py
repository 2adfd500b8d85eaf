"""The signatures of a SavedModel beside `serving_default`."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from nano import SHALLOW, SMALL
from PIL import Image
from tensorflow.core.protobuf import config_pb2

import gcvit_keras
from gcvit_export import export_saved_model
from gcvit_keras import ImageReader, feature_pyramid, load_image

FILES = Path(__file__).parent.parent / "data" / "images"
LABELS = [f"digit {k}" for k in range(10)]
READ = ("plain.jpg", "chelsea.png", "plain.bmp", "plain.webp", "grey.jpg")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model, its SavedModel, and the folder of that."""
    keras.utils.set_random_seed(0)
    model = gcvit_keras.GCViT(**{**SMALL, "input_shape": (64, 96, 3)})
    version = export_saved_model(
        model,
        tmp_path_factory.mktemp("signatures"),
        LABELS,
        image_reader=ImageReader(
            (64, 96), np.float32(0.875), max_pixels=np.int64(10**6)
        ),
        verify=False,
    )
    return model, tf.saved_model.load(str(version)), version


@pytest.fixture(scope="module")
def shallow():
    """A model for tests that write nothing of it."""
    return gcvit_keras.GCViT(**SHALLOW)


def read(served, *contents):
    found = served[1].signatures["serve_bytes"](
        image_bytes=tf.constant(contents)
    )
    return {name: tensor.numpy() for name, tensor in found.items()}


def test_files_are_read_as_load_image_does(served):
    model, *_ = served
    found = read(served, *[(FILES / name).read_bytes() for name in READ])
    pixels = [load_image(FILES / name, (64, 96), 0.875) for name in READ]
    expected = np.asarray(model(np.stack(pixels).astype("float32")))
    # Resized images agree to a grey level.
    np.testing.assert_allclose(found["probabilities"], expected, atol=2e-3)
    assert found["valid"].all()
    # And the right crop it is: the whole image gives other scores.
    whole = [load_image(FILES / name, (64, 96)) for name in READ]
    other = np.asarray(model(np.stack(whole).astype("float32")))
    assert np.abs(other - expected).max() > 4e-3


def test_an_image_of_the_size_is_read_exactly(served):
    model, *_ = served
    pixels = np.random.default_rng(0).integers(0, 256, (73, 109, 3), "uint8")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    found = read(served, content.getvalue())
    crop = load_image(content.getvalue(), (64, 96), 0.875).astype("float32")
    # 73 x 109 is 64 x 96 over 0.875: nothing is resized.
    assert (crop == pixels[4:68, 6:102]).all()
    np.testing.assert_allclose(
        found["probabilities"], model(crop[None]), atol=1e-6
    )


def test_the_best_classes_are_named(served):
    found = read(served, (FILES / "chelsea.png").read_bytes())
    scores = found["probabilities"][0]
    best = np.argsort(-scores)[:5]
    assert found["top_classes"][0].tolist() == best.tolist()
    assert found["top_classes"].dtype == np.int32
    np.testing.assert_array_equal(found["top_scores"][0], scores[best])
    names = [name.decode() for name in found["top_labels"][0]]
    assert names == [LABELS[k] for k in best]
    assert (served[2] / "assets" / "labels.txt").read_text().split("\n") == [
        *LABELS,
        "",
    ]


def broken():
    def content(kind, width, height):
        buffer = io.BytesIO()
        Image.effect_noise((width, height), 90).save(buffer, kind)
        return buffer.getvalue()

    png, jpeg = content("PNG", 90, 70), content("JPEG", 90, 70)
    inside = bytearray(png)
    inside[len(png) // 2] ^= 255
    return {
        "nothing": b"",
        "text": b"this is not an image",
        "a truncated JPEG": jpeg[: len(jpeg) // 2],
        "a truncated PNG": png[: len(png) // 2],
        "a PNG broken inside": bytes(inside),
        "too many pixels": content("PNG", 1001, 1000),
        "TIFF": content("TIFF", 90, 70),
    }


def test_broken_images_are_flagged_and_the_others_are_right(served):
    good = (FILES / "chelsea.png").read_bytes()
    contents = broken()
    alone = read(served, good)
    found = read(served, good, *contents.values(), good)
    valid = dict(zip(contents, found["valid"][1:-1], strict=True))
    assert valid == dict.fromkeys(contents, False)
    assert found["valid"][[0, -1]].all()
    assert np.isfinite(found["probabilities"]).all()
    for row in (0, -1):
        np.testing.assert_allclose(
            found["probabilities"][row], alone["probabilities"][0], atol=1e-6
        )


def test_a_single_pixel_is_an_image(served):
    content = io.BytesIO()
    Image.new("RGB", (1, 1), (9, 99, 200)).save(content, "PNG")
    found = read(served, content.getvalue())
    expected = np.broadcast_to(np.float32([9, 99, 200]), (1, 64, 96, 3))
    assert found["valid"].all()
    np.testing.assert_allclose(
        found["probabilities"], served[0](expected), atol=1e-6
    )


def test_an_empty_batch_is_an_error_and_no_crash(served):
    with pytest.raises(tf.errors.InvalidArgumentError):
        served[1].signatures["serve_bytes"](
            image_bytes=tf.constant([], tf.string)
        )


def test_features_are_the_pyramid_and_the_pooled_map(served):
    model, loaded, _ = served
    x = 255 * np.random.default_rng(1).random((2, 64, 96, 3), "float32")
    found = loaded.signatures["features"](images=tf.constant(x))
    expected = feature_pyramid(model)(x)
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    expected["pooled"] = pooled(x)
    assert set(found) == {"P2", "P3", "P4", "P5", "pooled"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)


def test_a_session_runs_it_as_a_server_does(served):
    """TensorFlow Serving runs graphs in sessions, not functions."""
    v1 = tf.compat.v1
    content = (FILES / "chelsea.png").read_bytes()
    with v1.Session(graph=tf.Graph()) as session:
        graph = v1.saved_model.load(session, ["serve"], str(served[2]))
        signature = graph.signature_def["serve_bytes"]
        valid, labels = session.run(
            [signature.outputs[k].name for k in ("valid", "top_labels")],
            {signature.inputs["image_bytes"].name: [content, b"no image"]},
        )
        # As from C++, without Python's checks of what is fed.
        signature = graph.signature_def["serving_default"]
        options = config_pb2.CallableOptions()
        options.feed.append(signature.inputs["images"].name)
        options.fetch.append(signature.outputs["probabilities"].name)
        run = session._make_callable_from_options(options)
        for shape in ((64, 96, 3), (2, 1, 64, 96, 3), (1, 64, 96, 1)):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="not compatible"
            ):
                run(np.zeros(shape, "float32"))
    assert valid.tolist() == [True, False]
    assert labels[0, 0] == read(served, content)["top_labels"][0, 0]


def test_any_size_on_request(nano, images, tmp_path):
    model = nano(**SMALL)
    version = export_saved_model(
        model, tmp_path, dynamic_size=True, verify=False
    )
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    any_size = {"input_shape": (None, None, 3), "window_size": (2, 2, 4, 2)}
    twin = nano(**{**SMALL, **any_size})
    twin.set_weights(model.get_weights())
    for size in ((64, 64), (50, 77)):
        x = images(2, *size, 3)
        np.testing.assert_allclose(
            served(images=tf.constant(x))["probabilities"], twin(x), atol=1e-5
        )
    assert model.input_shape == (None, 64, 64, 3)
    feature_pyramid(model)  # the model is as it was


@pytest.mark.parametrize("nested", [False, True])
def test_what_was_trained_in_half_precision_is_served_in_float32(
    nano, images, tmp_path, nested
):
    def build():
        if not nested:
            return nano(**SHALLOW)
        base = nano(**SHALLOW, include_top=False, pooling="avg")
        head = keras.layers.Dense(3, activation="softmax", dtype="float32")
        return keras.Sequential([keras.Input((64, 64, 3)), base, head])

    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build()
    keras.config.set_dtype_policy("float32")
    whole = build()
    whole.set_weights(half.get_weights())
    version = export_saved_model(half, tmp_path, verify=False)
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    x = images(2, 64, 64, 3)
    found = served(images=tf.constant(x))["probabilities"]
    np.testing.assert_allclose(found, whole(x), atol=1e-6)
    assert np.abs(half(x) - whole(x)).max() > 1e-5


def test_a_model_within_a_model_has_no_features_but_is_served(
    nano, images, tmp_path
):
    base = nano(**SHALLOW, include_top=False, pooling="avg")
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((64, 64, 3)), base, head])
    version = export_saved_model(model, tmp_path, verify=False)
    loaded = tf.saved_model.load(str(version))
    assert set(loaded.signatures) == {
        "serving_default",
        "serve_bytes",
        "serve_images",
    }
    x = images(2, 64, 64, 3)
    found = loaded.signatures["serving_default"](images=tf.constant(x))
    np.testing.assert_allclose(found["probabilities"], model(x), atol=1e-6)
    with pytest.raises(ValueError, match="`dynamic_size` needs a model"):
        export_saved_model(model, tmp_path, dynamic_size=True)


def test_other_channels_have_no_serve_bytes(nano, tmp_path):
    model = nano(
        **{**SHALLOW, "input_shape": (64, 64, 2)}, include_preprocessing=False
    )
    version = export_saved_model(model, tmp_path, verify=False)
    names = set(tf.saved_model.load(str(version)).signatures)
    assert names == {"serving_default", "serve_images", "features"}
    with pytest.raises(ValueError, match="`default_signature` cannot be"):
        export_saved_model(model, tmp_path, default_signature="serve_bytes")


def test_how_files_are_read_is_written_down(served):
    reader = ImageReader((64, 96), 0.875, max_pixels=10**6)
    assert ImageReader.of(served[2]) == reader
    assert ImageReader.of(served[2].parent) == reader


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"labels": ["a", "b"]}, "`labels` must be 10 names.*2 of them"),
        ({"labels": 5}, "`labels` must be a list.*5"),
        ({"labels": "abcdefghij"}, "`labels` must be a list.*'abcdefghij'"),
        ({"labels": [*"abcdefghi", "x\ny"]}, r"one line of text.*'x\\ny'"),
        ({"labels": [*"abcdefghi", ""]}, "one line of text each.*''"),
        ({"labels": [*"abcdefghi", 7]}, "one line of text each.*7"),
        ({"labels": [*"abcdefghi", "\ud800"]}, "one line of text.*ud800"),
        ({"warmup_batch_sizes": [0]}, r"`warmup_batch_sizes` must be.*\[0\]"),
        ({"warmup_batch_sizes": 4}, "`warmup_batch_sizes` must be.*=4"),
        (
            {"image_reader": ImageReader(32)},
            r"`image_reader` must be.*\[64, 64\].*\(32, 32\)",
        ),
        ({"image_reader": 64}, "`image_reader` must be.*=64"),
        (
            {"image_reader": ImageReader(64, interpolation="nearest")},
            "`interpolation` must be one of.*'nearest'",
        ),
        ({"default_signature": "x"}, "`default_signature` must be one.*'x'"),
        (
            {"directory": "gs://bucket/models"},
            "`directory` must be a local.*gs:",
        ),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    shallow, tmp_path, arguments, words
):
    with pytest.raises(ValueError, match=words):
        export_saved_model(
            shallow, **{"directory": tmp_path / "models", **arguments}
        )
    assert not list(tmp_path.iterdir())
