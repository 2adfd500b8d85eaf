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

def make():
    return [
        keras.layers.RandomFlip("horizontal_and_vertical"),
        keras.Sequential([keras.layers.RandomRotation(0.2)]),
        lambda images: 255 - images,
    ]

blur = keras.layers.RandomBrightness(0.5)
number = 3
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
