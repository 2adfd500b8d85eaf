"""What is exported of a model: its scores as probabilities, in float32."""

import keras
import numpy as np
import pytest
from keras import layers

from gcvit_export import VerificationError, export_onnx, verify
from gcvit_export.saved_model import export_saved_model
from gcvit_export.served import is_quantized, served_network

SIDE = 16


def classifier(*tail, inside=()):
    """A small model that ends in the layers given."""
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(images))
    for layer in inside or tail:
        x = layer(x)
    model = keras.Model(images, x)
    if inside:
        outer = keras.Input((SIDE, SIDE, 3))
        x = model(outer)
        for layer in tail:
            x = layer(x)
        model = keras.Model(outer, x)
    return model


def served(model, pixels):
    return np.asarray(served_network(model)(pixels)["probabilities"])


@pytest.fixture
def pixels(images):
    return images(4, SIDE, SIDE, 3)


def two_ends():
    """Probabilities, and the logits that they are of."""
    logits = classifier(layers.Dense(3))
    scores = layers.Softmax()(logits.output)
    return keras.Model(logits.input, [scores, logits.output])


def one_of(model, place):
    images = keras.Input((SIDE, SIDE, 3))
    return keras.Model(images, model(images)[place])


LOGITS = {
    "dense": lambda: classifier(layers.Dense(3)),
    "dropout after": lambda: classifier(layers.Dense(3), layers.Dropout(0.5)),
    "identity after": lambda: classifier(layers.Dense(3), layers.Identity()),
    "linear activation after": lambda: classifier(
        layers.Dense(3), layers.Activation("linear", dtype="float32")
    ),
    "nested": lambda: classifier(layers.Dropout(0.1), inside=[layers.Dense(3)]),
    "nested dropout after": lambda: keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            classifier(layers.Dense(3)),
            keras.Sequential([keras.Input((3,)), layers.Dropout(0.3)]),
        ]
    ),
    "second output": lambda: one_of(two_ends(), 1),
    "nested twice": lambda: keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), LOGITS["nested"]()]
    ),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_get_a_softmax(name, pixels):
    model = LOGITS[name]()
    logits = np.asarray(model(pixels), "float64")
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(served(model, pixels), expected, atol=1e-6)


PROBABILITIES = {
    "softmax": lambda: classifier(layers.Dense(3, activation="softmax")),
    "sigmoid": lambda: classifier(layers.Dense(1, activation="sigmoid")),
    "first output": lambda: one_of(two_ends(), 0),
    "softmax layer": lambda: classifier(layers.Dense(3), layers.Softmax()),
    "float32 after a softmax": lambda: classifier(
        layers.Dense(3, activation="softmax"),
        layers.Activation("linear", dtype="float32"),
    ),
    "nested": lambda: classifier(
        layers.Identity(), inside=[layers.Dense(3, activation="softmax")]
    ),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_stay_as_they_are(name, pixels):
    model = PROBABILITIES[name]()
    np.testing.assert_array_equal(served(model, pixels), model(pixels))


def test_scores_that_are_no_probabilities_are_refused(tmp_path):
    scaled = classifier(layers.Dense(3, name="head"), layers.Rescaling(90.0))
    with pytest.raises(ValueError, match="must give probabilities.*Received"):
        export_saved_model(scaled, tmp_path / "models")
    assert not list(tmp_path.iterdir())


def test_a_single_logit_is_refused():
    with pytest.raises(ValueError, match="`model` must give a score for each"):
        served_network(classifier(layers.Dense(1)))


def test_augmentation_within_the_model_is_left_out(pixels, tmp_path):
    keras.utils.set_random_seed(1)
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.RandomContrast(0.9, value_range=(0, 255))(images)
    x = layers.RandomBrightness(0.9)(x)
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x / 255))
    model = keras.Model(images, x)
    version = export_saved_model(model, tmp_path / "models")
    path = export_onnx(model, tmp_path / "m.onnx")
    for artefact in (version, path):
        found = verify(artefact, model, np.round(pixels))
        np.testing.assert_allclose(
            found.scores, model(np.round(pixels), training=False), atol=1e-5
        )


def quantized(policy=None):
    model = classifier(layers.Dense(3, activation="softmax", dtype=policy))
    model.quantize("int8")
    assert is_quantized(model)
    return model


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_model_that_keras_quantized_is_exported_as_it_is(pixels, tmp_path):
    model = quantized()
    np.testing.assert_array_equal(served(model, pixels), model(pixels))
    half = quantized("mixed_bfloat16")
    with pytest.raises(ValueError, match="must not be quantized and compute"):
        served_network(half)


@pytest.mark.parametrize(
    "build, words",
    [
        (
            lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]),
            "Received: Sequential from None to None",
        ),
        (
            lambda: keras.Model(
                images := keras.Input((SIDE, SIDE, 3)),
                {"scores": layers.Dense(3)(layers.Flatten()(images))},
            ),
            r"Received: Functional from \(None, 16, 16, 3\) to None",
        ),
        (
            lambda: keras.Model(
                (images := keras.Input((SIDE, SIDE, 3)), keras.Input((3,))),
                layers.Dense(3)(layers.Flatten()(images)),
            ),
            r"Received: Functional from None to \(None, 3\)",
        ),
    ],
)
def test_what_is_no_classifier_is_refused(build, words):
    with pytest.raises(ValueError, match=f"must be a functional.*{words}"):
        served_network(build())


def test_one_probability_has_a_second_class(pixels, tmp_path):
    """Of which the signal-to-noise ratio and the agreement are."""
    model = PROBABILITIES["sigmoid"]()
    version = export_saved_model(model, tmp_path / "models", verify=False)
    images = pixels.round()

    def logits(images):
        score = np.asarray(model(images), "float64")
        return np.log(score / (1 - score))

    def off(images):
        return 1 / (1 + np.exp(-logits(images) - 1e-6))

    found = verify(version, off, images)
    power = (logits(images) ** 2).mean()
    assert abs(found.snr_db - 10 * np.log10(power / 1e-12)) < 1
    assert found.agreement == 1
    with pytest.raises(VerificationError, match="differs from the model"):
        verify(version, lambda images: 1 - np.asarray(model(images)), images)


def test_equal_scores_have_a_ratio_that_json_knows(tmp_path):
    model = classifier(layers.Dense(3, "softmax", kernel_initializer="zeros"))
    version = export_saved_model(model, tmp_path / "models")
    text = (version / "verification.json").read_text()
    assert '"snr_db": 300.0' in text
