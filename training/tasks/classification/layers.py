"""A user's own augmentation: Keras layers, or any function of images."""

import contextlib
import importlib
import importlib.util
import itertools
from pathlib import Path

import keras
import tensorflow as tf


def load_layers(path):
    """Finds layers by the name that a recipe gives them.

    Args:
        path: `"FILE.py:NAME"` or `"MODULE:NAME"`. NAME is a layer, a function
            from images to images, a list of these, or a function without
            arguments that returns one of them, if it is called `make` or
            begins with `make_`.

    Returns:
        List of layers and functions.

    Raises:
        ValueError: If there is nothing of that name.
    """
    place, _, name = path.rpartition(":")
    try:
        if place.endswith(".py"):
            file = Path(place).expanduser()
            spec = importlib.util.spec_from_file_location(file.stem, file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        layers = getattr(module, name)
    except (ImportError, AttributeError, OSError, ValueError) as error:
        raise ValueError(
            "`augment.layers` must be FILE.py:NAME or MODULE:NAME. "
            f"Received: {path!r}: {error}"
        ) from error
    if name == "make" or name.startswith("make_"):
        layers = layers()
    layers = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    if not layers or not all(callable(layer) for layer in layers):
        raise ValueError(
            "`augment.layers` must name layers or functions of images. "
            f"Received: {path!r}"
        )
    return layers


def apply_layers(layers, image, seed):
    """Varies an image, in a graph, by nothing but the seed.

    Args:
        layers: As `load_layers` returns.
        image: float32 tensor `(height, width, channels)`, pixels in [0, 255].
        seed: Integer tensor `(2,)`.

    Returns:
        Tensor of the same shape and range.
    """
    images = call_layers(layers, image[None], seed)
    images = tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0)
    return tf.ensure_shape(images[0], image.shape)


def call_layers(layers, inputs, seed):
    """Calls layers and functions, one on what the other gives.

    Args:
        layers: As `load_layers` returns.
        inputs: What they take, such as images or a dict of images and boxes.
        seed: Integer tensor `(2,)`, which all that is random follows from.

    Returns:
        What the last one gives.
    """
    draws = itertools.count()

    def draw(ordered=True):
        return tf.cast(tf.random.fold_in(seed, next(draws)), tf.uint32)

    for layer in layers:
        with _drawing(layer, draw):
            if isinstance(layer, keras.layers.Layer):
                inputs = layer(inputs, training=True)
            else:
                inputs = layer(inputs)
    return inputs


@contextlib.contextmanager
def _drawing(layer, draw):
    """Lets the layer's generators draw seeds by `draw`, and keep no state."""
    nested = [layer]
    if isinstance(layer, keras.layers.Layer):
        nested = layer._flatten_layers()
    generators = [
        value
        for one in nested
        for value in getattr(one, "__dict__", {}).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]
    for generator in generators:
        generator.next = draw
    try:
        yield
    finally:
        for generator in generators:
            del generator.next
