"""Watching a model compute: its own forward pass, and no other.

Methods of its layers are wrapped while it runs on arrays, so what is seen is
what the model used.
"""

import contextlib
import re
import threading

import keras
import numpy as np
from keras import ops

from gcvit_keras.layers import GCViTBlock, Stem
from gcvit_keras.layers.composite import replaced

_LOCK = threading.RLock()
"""One thread at a time wraps layers; it may do so in nested blocks."""
_OF_A_PIXEL = (
    keras.layers.InputLayer,
    keras.layers.Normalization,
    keras.layers.Rescaling,
)
"""Layers that leave every pixel where it is."""
_CLOSE = 1.25
"""Pixels that an edge may be moved by, as resizing does."""


@contextlib.contextmanager
def recorded(layers, name, then=None):
    """Keeps what a method of layers is given and returns.

    Args:
        layers: The layers.
        name: Name of their method.
        then: Function that is given what is returned, as it is.

    Yields:
        Dict from each layer, once it was called, to its last arguments and
        what it returned.
    """
    seen = {}

    def wrapped(layer):
        method = getattr(layer, name)

        def record(*arguments, **keywords):
            result = method(*arguments, **keywords)
            if then is not None:
                then(result)
            seen[layer] = arguments, result
            return result

        return {name: record}

    with replaced({layer: wrapped(layer) for layer in layers}):
        yield seen


@contextlib.contextmanager
def watched(layers, name, then=None):
    """`recorded`, of layers that are called once, while other threads wait.

    Args:
        layers: See `recorded`.
        name: See there.
        then: See there.

    Yields:
        What `recorded` does.

    Raises:
        ValueError: If a layer was called more than once.
    """
    calls = []

    def count(result):
        calls.append(name)
        if then is not None:
            then(result)

    with _LOCK, recorded(layers, name, then=count) as seen:
        yield seen
    if len(calls) > len(seen):
        raise ValueError(
            "`model` must call each layer that is looked at once: of several "
            "calls, as of test-time augmentation, it is not known which is "
            "meant. Received: a model that calls them more often"
        )


def layers_of(model):
    """All layers of a model, also of the models within it.

    Args:
        model: A `keras.Model`.

    Returns:
        Dict from names to lists of layers: inner layers of different blocks
        have the same names.
    """
    named = {}
    for layer in model._flatten_layers(include_self=False):
        named.setdefault(layer.name, []).append(layer)
    return named


def blocks_of(model):
    """The blocks of the GC ViT that a model is or holds.

    Args:
        model: A `keras.Model`.

    Returns:
        Dict from (level, block) to `GCViTBlock`, in the order of the network.

    Raises:
        ValueError: If the model holds none, or more than one.
    """
    found = {}
    for name, layers in layers_of(model).items():
        match = re.fullmatch(r"level_(\d+)_block_(\d+)", name)
        blocks = [layer for layer in layers if isinstance(layer, GCViTBlock)]
        if not match or not blocks:
            continue
        if len(blocks) > 1:
            raise ValueError(
                f"`model` must hold one GC ViT. Received: {model.name!r}, in "
                f"which there are {len(blocks)} layers {name}"
            )
        found[int(match[1]), int(match[2])] = blocks[0]
    if not found:
        raise ValueError(
            "`model` must be a GC ViT of this library or hold one. "
            f"Received: {model.name!r}, which holds none"
        )
    return dict(sorted(found.items()))


def checked_model(model):
    """Refuses what has no layers to look into.

    Args:
        model: As the user gave it.

    Raises:
        ValueError: If it is no functional or built Sequential model.
    """
    if not isinstance(model, keras.Model) or not all(
        hasattr(model, name) for name in ("input_shape", "output_shape")
    ):
        raise ValueError(
            "`model` must be a functional keras.Model, or a Sequential one "
            f"that is built. Received: model={model!r}"
        )


def checked_images(images, model):
    """Images as an array that the model takes.

    Args:
        images: As the user gave them.
        model: As the user gave it.

    Returns:
        Float32 array `(images, height, width, channels)`.

    Raises:
        ValueError: If they are anything else, or `model` is none that can be
            looked into.
    """
    checked_model(model)
    shape = model.input_shape
    try:
        np.asarray(ops.zeros(()))  # fails while a graph is made
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
            size not in (None, given)
            for size, given in zip(shape[1:], images.shape[1:], strict=True)
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
    """Size of what the GC ViT in a model is given, which its maps cover.

    Part of an image is brightened, and has to brighten the same part of that.

    Args:
        model: A `keras.Model`.
        images: Array `(images, height, width, channels)`.

    Returns:
        `(height, width)`.

    Raises:
        ValueError: If it is not the whole image, resized at most.
    """
    stem = next(x for x in model._flatten_layers() if isinstance(x, Stem))
    size = images.shape[1:3]
    if stem in model.layers:
        before = model.layers[: model.layers.index(stem)]
        if all(isinstance(layer, _OF_A_PIXEL) for layer in before):
            return size
    low = float(images.min())
    span = float(images.max()) - low or 1.0
    noise = np.random.default_rng(0).random((1, *images.shape[1:]), "float32")
    probe = np.repeat(low + span / 3 * noise, 2, axis=0)
    starts = size[0] // 8, size[1] // 2
    stops = [at + max(s // 4, 1) for at, s in zip(starts, size, strict=True)]
    probe[1, starts[0] : stops[0], starts[1] : stops[1]] += span / 2
    with watched([stem], "call") as calls:
        model(probe, training=False)
    given = calls[stem][0][0]
    given = ops.convert_to_numpy(ops.cast(given, "float32"))
    change = np.abs(given[1] - given[0]).sum(-1)
    bright = change > change.max() / 2
    for axis, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        scale = bright.shape[axis] / size[axis]
        (at,) = np.nonzero(bright.any(1 - axis))
        if (
            not at.size
            or abs(at[0] - start * scale) > _CLOSE
            or abs(at[-1] + 1 - stop * scale) > _CLOSE
        ):
            raise ValueError(
                "`model` must give its GC ViT the whole image, resized at "
                "most: it is not known where maps lie otherwise. Received: "
                f"{model.name!r}, which crops, pads or moves it"
            )
    return bright.shape


def is_integer(value):
    """Whether a value is an integer, of Python or numpy; `True` is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def batches(images, size):
    """Parts of an array.

    Args:
        images: Array `(images, ...)`.
        size: Images at most of each part.

    Returns:
        List of arrays.

    Raises:
        ValueError: If `size` is no positive integer.
    """
    if not is_integer(size) or size < 1:
        raise ValueError(
            "`batch_size` must be a positive integer. "
            f"Received: batch_size={size!r}"
        )
    return [images[i : i + size] for i in range(0, len(images), size)]
