"""How `serve_bytes` reads files: at which size, and as the default."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from nano import SHALLOW
from PIL import Image

from gcvit_export import export_saved_model
from gcvit_keras import ImageReader, load_image

FILES = Path(__file__).parent.parent / "data" / "images"


def flattened(channels=3):
    """A model to whose scores every pixel counts."""
    images = keras.Input((64, 64, channels))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(4, "softmax")(x))


def test_grey_images_are_read_from_files(tmp_path):
    model = flattened(1)
    version = export_saved_model(model, tmp_path)
    assert version.verification.reads_files
    loaded = tf.saved_model.load(str(version))
    content = (FILES / "grey.jpg").read_bytes()
    pixels = load_image(content, 64, channels=1).astype("float32")
    found = loaded.signatures["serve_bytes"](image_bytes=tf.constant([content]))
    np.testing.assert_allclose(
        found["probabilities"], model(pixels[None]), atol=2e-3
    )


def test_files_may_be_the_default_signature(tmp_path):
    """As Vertex AI and SageMaker call no other."""
    version = export_saved_model(
        flattened(), tmp_path, default_signature="serve_bytes", verify=False
    )
    loaded = tf.saved_model.load(str(version))
    content = tf.constant([(FILES / "chelsea.png").read_bytes()])
    first = loaded.signatures["serving_default"](image_bytes=content)
    second = loaded.signatures["serve_bytes"](image_bytes=content)
    assert set(first) == set(second) and first["valid"].numpy().all()
    np.testing.assert_array_equal(
        first["probabilities"], second["probabilities"]
    )


def pictures(count):
    """Encoded photographs of stripes, of another size than any model's."""
    y, x = np.mgrid[:150, :220]
    for k in range(count):
        waves = [
            128 + 120 * np.sin(x / (7 + k)),
            128 + 120 * np.cos(y / (9 + k)),
            (x * (k + 2) + y) % 255,
        ]
        content = io.BytesIO()
        Image.fromarray(np.stack(waves, -1).astype("uint8")).save(
            content, "PNG"
        )
        yield content.getvalue()


def test_a_model_made_dynamic_reads_files_at_its_own_size(nano, tmp_path):
    model = nano(**{**SHALLOW, "input_shape": (80, 80, 3)})
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(0, 0.1, weight.shape))
    files = list(pictures(4))
    pixels = np.stack([load_image(file, 80) for file in files])
    expected = model.predict(pixels.astype("float32"), verbose=0)
    whole = np.stack([load_image(file, 224) for file in files])
    version = export_saved_model(model, tmp_path, dynamic_size=True)
    loaded = tf.saved_model.load(str(version))
    found = loaded.signatures["serve_bytes"](image_bytes=tf.constant(files))
    np.testing.assert_allclose(found["probabilities"], expected, atol=2e-2)
    images = tf.constant(whole.astype("float32"))
    other = loaded.signatures["serve_images"](images=images)
    assert np.abs(other["probabilities"] - expected).max() > 5e-2


def test_a_model_of_any_size_is_told_one_for_files(nano, tmp_path):
    model = nano(**{**SHALLOW, "input_shape": (None, None, 3)})
    with pytest.raises(ValueError, match="`image_reader` must be given"):
        export_saved_model(model, tmp_path)
    assert not list(tmp_path.iterdir())
    version = export_saved_model(
        model, tmp_path, image_reader=ImageReader((48, 64))
    )
    assert version.verification.reads_files
    (file,) = pictures(1)
    pixels = load_image(file, (48, 64)).astype("float32")
    loaded = tf.saved_model.load(str(version))
    found = loaded.signatures["serve_bytes"](image_bytes=tf.constant([file]))
    np.testing.assert_allclose(
        found["probabilities"], model(pixels[None]), atol=2e-3
    )
