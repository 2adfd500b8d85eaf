"""A user's own augmentation layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcvit_training.tasks.classification.layers import (
    apply_layers,
    load_layers,
)

LAYERS = """
import keras
import tensorflow as tf


generator = tf.random.Generator.from_seed(1)


def noisy(images):
    light = generator.uniform((), 0.8, 1.2)
    noise = tf.random.normal(tf.shape(images), stddev=9.0)
    return light * images + tf.random.gamma((), [1.0, 2.0, 3.0]) + noise


def make():
    return [
        keras.layers.RandomFlip("horizontal_and_vertical"),
        keras.Sequential([keras.layers.RandomRotation(0.2)]),
        lambda images: 255 - images,
    ]

blur = keras.layers.RandomBrightness(0.5)
number = 3
"""

OF_KERAS_CV = """
from keras_cv import layers

PIXELS = (0, 255)
flip = layers.RandomFlip("horizontal_and_vertical")
rand = layers.RandAugment(PIXELS, augmentations_per_image=2)
mixed = layers.AugMix(PIXELS)
cut = layers.RandomCutout(0.4, 0.4, "gaussian_noise")
pipeline = layers.RandomAugmentationPipeline(
    [layers.RandomShear(0.3, 0.3), layers.RandomHue(0.5, PIXELS)], 2
)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(LAYERS)
    return path


def varied(layers, seeds):
    image = tf.reshape(tf.range(16 * 12 * 3, dtype=tf.float32), (16, 12, 3))
    image = image * 255 / (16 * 12 * 3)
    data = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: apply_layers(layers, image, seed)
    )
    return list(data.as_numpy_iterator())


def test_layers_vary_images_by_the_seed_alone(file):
    layers = load_layers(f"{file}:make")
    seeds = np.int64([[1, 2], [3, 4], [1, 2], [5, 6], [7, 8]])
    first = varied(layers, seeds)
    for a, b in zip(first, varied(layers, seeds), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first[0], first[2])
    assert len({image.tobytes() for image in first}) == 4
    # Made anew, as when a run goes on, they do the same.
    again = varied(load_layers(f"{file}:make"), seeds)
    np.testing.assert_array_equal(again, first)


def test_functions_may_draw_by_tensorflow(file):
    seeds = np.int64([[1, 2], [3, 4], [1, 2]])
    layers = load_layers(f"{file}:noisy")
    first = varied(layers, seeds)
    np.testing.assert_array_equal(varied(layers, seeds), first)
    np.testing.assert_array_equal(first[0], first[2])
    assert (first[0] != first[1]).mean() > 0.9


@pytest.mark.parametrize("name", ["flip", "rand", "mixed", "cut", "pipeline"])
def test_layers_of_keras_cv_vary_by_the_seed_alone(tmp_path, name):
    pytest.importorskip("keras_cv")
    (tmp_path / "cv.py").write_text(OF_KERAS_CV)
    seeds = np.int64([[1, 2], [3, 4], [1, 2], [5, 6], [7, 8], [9, 10]])
    first = varied(load_layers(f"{tmp_path / 'cv.py'}:{name}"), seeds)
    again = varied(load_layers(f"{tmp_path / 'cv.py'}:{name}"), seeds)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(first[0], first[2])
    assert len({image.tobytes() for image in first}) > 2


def test_one_layer_will_do(file):
    (layer,) = load_layers(f"{file}:blur")
    assert isinstance(layer, keras.layers.RandomBrightness)


@pytest.mark.parametrize(
    "name", ["own.py:nothing", "no.py:make", "no_module:make", "make"]
)
def test_what_is_not_there_is_refused(file, monkeypatch, name):
    monkeypatch.chdir(file.parent)
    with pytest.raises(ValueError, match="`augment.layers` must be FILE.py"):
        load_layers(name)


def test_what_is_no_layer_is_refused(file):
    with pytest.raises(ValueError, match="must name layers or functions"):
        load_layers(f"{file}:number")
