"""A user's own augmentation: Keras layers, or any function of images."""

import contextlib
import importlib
import importlib.util
import itertools
from pathlib import Path
from unittest import mock

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


def call_layer(layer, inputs):
    """Calls a layer as in training, or a function."""
    if isinstance(layer, keras.layers.Layer):
        return layer(inputs, training=True)
    return layer(inputs)


def call_layers(layers, inputs, seed, call=call_layer):
    """Calls layers and functions, one on what the other gives.

    Args:
        layers: As `load_layers` returns.
        inputs: What they take, such as images or a dict of images and boxes.
        seed: Integer tensor `(2,)`, which all that is random follows from.
        call: Function of a layer and its inputs. Default: `call_layer`.

    Returns:
        What the last one gives.
    """
    draws = itertools.count()

    def draw(ordered=True):
        return tf.cast(tf.random.fold_in(seed, next(draws)), tf.uint32)

    with _tensorflow_drawing(lambda: tf.cast(draw(), tf.int32)):
        for layer in layers:
            with _drawing(layer, draw):
                inputs = call(layer, inputs)
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


@contextlib.contextmanager
def _tensorflow_drawing(draw):
    """Lets TensorFlow's random functions draw seeds by `draw`.

    Layers of keras-cv, and many functions, call `tf.random.uniform` and its
    like or a `tf.random.Generator`, whose state a run that goes on does not
    have.
    """

    def stateless(function, is_method=False):
        def drawn(*args, seed=None, **keywords):
            args = args[1:] if is_method else args
            if not args:
                return function(seed=draw(), **keywords)
            return function(args[0], draw(), *args[1:], **keywords)

        return drawn

    functions = {
        "uniform": tf.random.stateless_uniform,
        "normal": tf.random.stateless_normal,
        "truncated_normal": tf.random.stateless_truncated_normal,
    }
    methods = {k: stateless(f, True) for k, f in functions.items()}
    functions["gamma"] = _gamma
    functions["shuffle"] = tf.random.experimental.stateless_shuffle
    functions = {k: stateless(f) for k, f in functions.items()}
    with (
        mock.patch.multiple(tf.random, **functions),
        mock.patch.multiple(tf.random.Generator, **methods),
    ):
        yield


def _gamma(shape, seed, alpha, beta=None, dtype=tf.float32):
    """`stateless_gamma` of the shape that `tf.random.gamma` understands."""
    alpha = tf.convert_to_tensor(alpha, dtype)
    beta = tf.ones_like(alpha) if beta is None else beta
    each = tf.broadcast_dynamic_shape(tf.shape(alpha), tf.shape(beta))
    whole = tf.concat([tf.cast(shape, tf.int32), each], axis=0)
    return tf.random.stateless_gamma(whole, seed, alpha, beta, dtype)
