"""What is exported of a model: which outputs, named how, meaning what.

Every artifact here is run outside of Keras and compared with numpy's sigmoid
or softmax of what the user's own model predicts.
"""

import json

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from command import inside, refused
from keras import layers
from nano import SHALLOW

import gcvit_export
from gcvit_export import VerificationError, verify
from gcvit_export.kinds import functional
from gcvit_export.served import served

SIDE = 16
EXPORTS = ("savedmodel", "litert", "onnx")


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, "float64")))


def softmax(x):
    powers = np.exp(np.asarray(x, "float64"))
    return powers / powers.sum(-1, keepdims=True)


def same(x):
    return np.asarray(x)


@pytest.fixture
def pixels(images):
    return np.round(images(4, SIDE, SIDE, 3))


def small(*heads, compiled=None, inside=False):
    """A model of flattened pixels that ends in the layers given.

    Weights are large, so that another activation gives other values.
    """
    entry = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(entry)
    x = layers.Dense(8, "tanh", kernel_initializer="random_normal")(x)
    x = layers.Rescaling(1.0)(x)
    model = keras.Model(entry, x)
    if inside:
        outer = keras.Input((SIDE, SIDE, 3))
        model = keras.Model(outer, model(outer))
    x = model.output
    for head in heads:
        x = head(x)
    model = keras.Model(model.input, x)
    if compiled is not None:
        model.compile("sgd", compiled)
    return model


def dense(units, activation=None, name=None):
    initializer = keras.initializers.RandomNormal(stddev=1.5)
    return layers.Dense(
        units, activation, kernel_initializer=initializer, name=name
    )


def export(kind, model, folder, **how):
    how = {"verify": False, **how}
    if kind == "savedmodel":
        return gcvit_export.export_saved_model(model, folder / "saved", **how)
    if kind == "litert":
        return gcvit_export.export_litert(model, folder / "m.tflite", **how)
    return gcvit_export.export_onnx(model, folder / "m.onnx", **how)


def run(path, pixels):
    """Runs an artifact by its own runtime; dict of arrays by name."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path))
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"images": pixels})
        return dict(zip(names, values, strict=True))
    if path.suffix == ".tflite":
        signature = Interpreter(str(path)).get_signature_runner()
        rows = [signature(images=image[None]) for image in pixels]
        return {k: np.concatenate([row[k] for row in rows]) for k in rows[0]}
    loaded = tf.saved_model.load(str(path))
    found = loaded.signatures["serving_default"](images=tf.constant(pixels))
    return {name: value.numpy() for name, value in found.items()}


def binary(from_logits=True):
    return keras.losses.BinaryCrossentropy(from_logits=from_logits)


def sparse(from_logits=True):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


MEANS = {
    "labels, by the loss": (
        lambda: small(dense(5), compiled=binary()),
        sigmoid,
    ),
    "one label, by the loss": (
        lambda: small(dense(1), compiled=binary()),
        sigmoid,
    ),
    "classes, by the loss": (
        lambda: small(dense(3), compiled=sparse()),
        softmax,
    ),
    "classes, dropout after": (
        lambda: small(dense(3), layers.Dropout(0.5), compiled=sparse()),
        softmax,
    ),
    "classes in half precision": (
        lambda: small(
            dense(3),
            layers.Activation("linear", dtype="float32"),
            compiled=sparse(),
        ),
        softmax,
    ),
    "softmax": (lambda: small(dense(3, "softmax")), same),
    "softmax layer": (lambda: small(dense(3), layers.Softmax()), same),
    "sigmoid": (lambda: small(dense(4, "sigmoid"), inside=True), same),
}


@pytest.mark.parametrize("name", MEANS)
def test_probabilities_are_what_the_model_means(name, pixels, tmp_path):
    build, activation = MEANS[name]
    model = build()
    expected = activation(model.predict(pixels, verbose=0))
    found = run(export("onnx", model, tmp_path), pixels)
    assert list(found) == ["probabilities"]
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_format_serves_labels_as_labels(kind, pixels, tmp_path):
    model = small(dense(6), compiled=binary())
    expected = sigmoid(model.predict(pixels, verbose=0))
    path = export(kind, model, tmp_path, verify=True)
    found = run(path, pixels)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert path.verification.difference <= 1e-4


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_regression_stays_as_it_is(kind, pixels, tmp_path):
    model = small(dense(2, name="price"), compiled="mse")
    expected = 40 * model.predict(pixels, verbose=0)
    model.get_layer("price").set_weights(
        [40 * w for w in model.get_layer("price").get_weights()]
    )
    found = run(export(kind, model, tmp_path), pixels)
    assert list(found) == ["price"]
    np.testing.assert_allclose(found["price"], expected, rtol=1e-4, atol=1e-3)


def several():
    """A model of three outputs, each of which means something else."""
    base = small(dense(8, "tanh"))
    outputs = {
        "kind": dense(3, name="a")(base.output),
        "tags": dense(4, name="b")(base.output),
        "age": dense(1, name="c")(base.output),
    }
    model = keras.Model(base.input, outputs)
    losses = {"kind": sparse(), "tags": binary(), "age": "mae"}
    model.compile("sgd", losses)
    return model


@pytest.mark.parametrize("kind", EXPORTS)
def test_several_outputs_have_their_own_names(kind, pixels, tmp_path):
    model = several()
    raw = model.predict(pixels, verbose=0)
    path = export(kind, model, tmp_path, verify=kind != "savedmodel")
    found = run(path, pixels)
    for name, activation in (
        ("kind", softmax),
        ("tags", sigmoid),
        ("age", same),
    ):
        np.testing.assert_allclose(
            found[name], activation(raw[name]), atol=1e-4, err_msg=name
        )
    assert set(found) == {"kind", "tags", "age"}


@pytest.mark.parametrize("kind", EXPORTS)
def test_embeddings_are_exported(kind, nano, images, tmp_path):
    model = nano(**SHALLOW, include_top=False, pooling="avg", name="embed")
    x = np.round(images(2, 64, 64, 3))
    found = run(export(kind, model, tmp_path), x)
    ((name, values),) = found.items()
    assert name == model.output_names[0]
    np.testing.assert_allclose(values, model.predict(x, verbose=0), atol=1e-4)


def test_files_are_answered_with_what_the_model_gives(tmp_path):
    model = several()
    version = export("savedmodel", model, tmp_path)
    grey = np.full((SIDE, SIDE, 3), 90, "uint8")
    content = tf.io.encode_png(grey).numpy()
    loaded = tf.saved_model.load(str(version))
    found = loaded.signatures["serve_bytes"](image_bytes=tf.constant([content]))
    assert set(found) == {"kind", "tags", "age", "valid"}
    raw = model.predict(grey[None].astype("float32"), verbose=0)
    np.testing.assert_allclose(found["age"], raw["age"], atol=1e-5)


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_nothing_tells_is_refused(kind, tmp_path):
    for model in (
        small(dense(5)),
        small(dense(5), layers.Rescaling(90.0)),
        small(dense(5), compiled=lambda y, p: y - p),
        small(dense(5), compiled="categorical_crossentropy"),
    ):
        with pytest.raises(ValueError, match="`activation` must be given, 's"):
            export(kind, model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize(
    "activation, function", [("softmax", softmax), ("sigmoid", sigmoid)]
)
def test_an_activation_that_is_given_is_taken(
    kind, activation, function, pixels, tmp_path
):
    # The loss says otherwise.
    model = small(dense(4), compiled="mse")
    expected = function(model.predict(pixels, verbose=0))
    path = export(kind, model, tmp_path, activation=activation)
    found = run(path, pixels)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_verify_takes_the_activation(pixels, tmp_path):
    model = small(dense(4), compiled="mse")
    path = export("litert", model, tmp_path, activation="sigmoid")
    assert verify(path, model, pixels, activation="sigmoid").agreement == 1
    with pytest.raises(VerificationError, match="gives values of shape none"):
        verify(path, model, pixels)


def test_an_activation_for_each_output(pixels, tmp_path):
    model = several()
    model.compile("sgd", "mse")
    given = {"kind": "softmax", "tags": None}
    path = export("savedmodel", model, tmp_path, activation=given)
    raw, found = model.predict(pixels, verbose=0), run(path, pixels)
    np.testing.assert_allclose(found["kind"], softmax(raw["kind"]), atol=1e-5)
    np.testing.assert_allclose(found["tags"], raw["tags"], atol=1e-5)


@pytest.mark.parametrize(
    "build, activation, words",
    [
        (lambda: small(dense(3, "softmax")), "sigmoid", "must be 'softmax'"),
        (lambda: small(dense(1), compiled="mse"), "softmax", "one logit"),
        (lambda: small(dense(3)), "relu", "`activation` must be one of"),
        (lambda: small(dense(1), compiled=sparse()), "auto", "one logit"),
    ],
)
def test_an_activation_that_cannot_be_is_refused(
    build, activation, words, tmp_path
):
    with pytest.raises(ValueError, match=words):
        export("savedmodel", build(), tmp_path, activation=activation)


def test_verification_is_against_the_users_model(pixels, tmp_path, monkeypatch):
    """Whatever the exporter does to the network."""
    model = small(dense(4), compiled=binary())
    monkeypatch.setattr(
        functional, "activation_of", lambda *_: ("softmax", "softmax")
    )
    path = export("litert", model, tmp_path)
    monkeypatch.undo()
    with pytest.raises(VerificationError, match="differs from the model by"):
        verify(path, model, pixels)


def test_a_wrong_network_is_not_verified(tmp_path, monkeypatch):
    """The network that is exported has no part in what is expected."""
    model = small(dense(4), compiled=binary())

    class Softmax(keras.layers.Activation):
        def __init__(self, activation, **how):
            super().__init__("softmax", **how)

    monkeypatch.setattr(keras.layers, "Activation", Softmax)
    with pytest.raises(VerificationError, match="differs from the model by"):
        export("litert", model, tmp_path, verify=True)
    assert not list(tmp_path.iterdir())


def test_the_command_takes_the_compiled_loss(pixels, tmp_path):
    model = small(dense(4), compiled=binary())
    model.save(tmp_path / "m.keras")
    code, _, errors = inside(
        *("export", "m.keras", "--format", "onnx", "--out", "m.onnx"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    expected = sigmoid(model.predict(pixels, verbose=0))
    found = run(tmp_path / "m.onnx", pixels)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    small(dense(4)).save(tmp_path / "plain.keras")
    arguments = ("export", "plain.keras", "--format", "litert", "--out")
    line = refused(*arguments, "p.tflite", cwd=tmp_path)
    assert "`activation` must be given" in line
    code, _, errors = inside(
        *arguments, "p.tflite", "--activation", "none", cwd=tmp_path
    )
    assert code == 0, errors
    plain = keras.models.load_model(tmp_path / "plain.keras")
    (values,) = run(tmp_path / "p.tflite", pixels).values()
    np.testing.assert_allclose(
        values, plain.predict(pixels, verbose=0), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_model_that_keras_quantized_is_verified(nano, images, tmp_path):
    """By its signal: rounding moves its integers, as its own noise does."""
    model = nano(**SHALLOW)
    model.quantize("int8")
    version = export("savedmodel", model, tmp_path, verify=True)
    assert version.verification.kind == "savedmodel int8"
    assert version.verification.snr_db > 10
    x = np.round(images(4, 64, 64, 3))
    found = run(version, x)["probabilities"]
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=2e-2)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_quantized_half_precision_is_refused():
    model = small(dense(3, "softmax"))
    model.quantize("int8")
    model.layers[-2].dtype_policy = "mixed_bfloat16"
    with pytest.raises(ValueError, match="must not be quantized and compute"):
        served(model)


def test_augmentation_within_the_model_is_left_out(pixels, tmp_path):
    entry = keras.Input((SIDE, SIDE, 3))
    x = layers.RandomContrast(0.9, value_range=(0, 255))(entry)
    x = layers.RandomBrightness(0.9)(x)
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x / 255))
    model = keras.Model(entry, x)
    for kind in ("savedmodel", "onnx"):
        found = run(export(kind, model, tmp_path), pixels)["probabilities"]
        expected = model(pixels, training=False)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "build, words",
    [
        (
            lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]),
            "Received: Sequential from None",
        ),
        (
            lambda: keras.Model(
                (images := keras.Input((SIDE, SIDE, 3)), keras.Input((3,))),
                layers.Dense(3)(layers.Flatten()(images)),
            ),
            "Received: Functional from None",
        ),
        (lambda: "model.keras", "Received: str from None"),
    ],
)
def test_what_takes_no_images_is_refused(build, words):
    with pytest.raises(ValueError, match=f"must be a functional.*{words}"):
        served(build())


def test_equal_scores_have_a_ratio_that_json_knows(tmp_path):
    head = layers.Dense(3, "softmax", kernel_initializer="zeros")
    path = export("litert", small(head), tmp_path, verify=True)
    text = path.with_name(f"{path.name}.verification.json").read_text()
    assert json.loads(text)["snr_db"] == 300
