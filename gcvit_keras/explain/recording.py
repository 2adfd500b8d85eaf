"""Watching a model compute: its own forward pass, and no other.

Methods of its layers are wrapped while it runs on arrays, so what is seen is
what the model used.
"""

import contextlib

import keras
import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.layers.composite import TURN, replaced
from gcvit_keras.models import structure

_IN_PLACE = (
    keras.layers.InputLayer,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.RandomBrightness,
    keras.layers.RandomContrast,
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
)
"""Layers that leave every pixel where it is, outside of training."""


@contextlib.contextmanager
def watched(layers, name, then=None):
    """Keeps the arguments and the result of a method of layers.

    The layers have to be called once. Other threads wait.

    Args:
        layers: The layers, an iterable.
        name: Name of their method.
        then: Function of the method's result, which may return something else
            to take its place.

    Yields:
        Dict from each layer, once it was called, to its arguments, a tuple,
        and its result.

    Raises:
        ValueError: If a layer was called more than once.
    """
    seen, repeated = {}, []

    def wrapped(layer):
        method = getattr(layer, name)

        def record(*arguments, **keywords):
            result = method(*arguments, **keywords)
            if then is not None:
                changed = then(result)
                result = result if changed is None else changed
            if layer in seen:
                repeated.append(layer)
            seen[layer] = arguments, result
            return result

        return {name: record}

    with TURN, replaced({layer: wrapped(layer) for layer in layers}):
        yield seen
    if repeated:
        raise ValueError(
            "`model` must call each layer that is looked at once: of several "
            "calls, as of test-time augmentation, it is not known which is "
            "meant. Received: a model that calls them more often"
        )


def checked_images(images, model):
    """Turns images that a user gave into a float32 array that the model takes.

    Raises a `ValueError` if they are anything else, or `model` is no functional
    or built Sequential model.
    """
    if not isinstance(model, keras.Model) or not all(
        hasattr(model, name) for name in ("input_shape", "output_shape")
    ):
        raise ValueError(
            "`model` must be a functional keras.Model, or a Sequential one "
            f"that is built. Received: model={model!r}"
        )
    shape = model.input_shape
    try:
        ops.convert_to_numpy(ops.zeros(()))  # fails while a graph is made
        images = np.asarray(images)
    except Exception as error:  # TensorFlow and numpy raise several kinds
        raise ValueError(
            f"`images` must be an array of numbers of shape {shape}, outside "
            f"of tf.function. Received: {type(images).__name__}, which is none"
        ) from error
    if images.dtype.name == "bfloat16":  # to numpy of no kind that it knows
        images = images.astype("float32")
    if (
        images.dtype.kind not in "uif"
        or images.ndim != 4
        or not images.size
        or not isinstance(shape, tuple)
        or len(shape) != 4
        or any(
            side not in (None, own)
            for side, own in zip(shape[1:], images.shape[1:], strict=True)
        )
    ):
        raise ValueError(
            f"`images` must be numbers of shape {shape}. Received: an array "
            f"of {images.dtype} of shape {images.shape}"
        )
    if not np.isfinite(images).all():
        raise ValueError(
            "`images` must be finite. Received: an array with NaN or infinity"
        )
    return images.astype("float32")


def input_size(model, images):
    """Finds `(height, width)` of images as the GC ViT in a model sees them.

    Maps cover these. Layers before it may resize whole images, and change
    pixels where they are; of any other layer, which may crop, pad or move the
    image, a `ValueError` is raised.
    """
    size = images.shape[1:3]
    for layer in _layers_before(model, structure.stem(model)):
        if isinstance(layer, keras.layers.Resizing) and not (
            layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio
        ):
            size = (layer.height, layer.width)
        elif not isinstance(layer, _IN_PLACE):
            raise ValueError(
                "`model` must give its GC ViT the whole image, resized at "
                "most: it is not known where maps lie otherwise. Received: "
                f"{model.name!r} with the layer {layer.name!r} before it, a "
                f"{type(layer).__name__}. Explain the GC ViT itself, on what "
                "that layer gives"
            )
    return tuple(size)


def _layers_before(model, stem):
    """Lists what comes before a stem, in the models that it is within."""
    before = []
    for layer in model.layers:
        if layer is stem:
            break
        if isinstance(layer, keras.Model):
            inner = layer._flatten_layers(include_self=False)
            if any(each is stem for each in inner):
                return before + _layers_before(layer, stem)
        before.append(layer)
    return before


def batches(images, size):
    """Cuts an array `(images, ...)` into parts of at most `size` images.

    Raises a `ValueError` if `size` is no positive integer.
    """
    size = checks.integer("batch_size", size)
    return [images[i : i + size] for i in range(0, len(images), size)]
