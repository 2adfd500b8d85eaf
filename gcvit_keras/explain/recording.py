"""Watching a model compute: its own forward pass, and no other.

Methods of its layers are wrapped while it runs on arrays, so what is seen is
what the model used. Not for two threads with one model at once.
"""

import contextlib
import re

import numpy as np

from gcvit_keras.layers import GCViTBlock
from gcvit_keras.layers.composite import replaced


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
            f"Received: {model.name!r} without"
        )
    return dict(sorted(found.items()))


def checked_images(images, model):
    """Images as an array that the model takes.

    Args:
        images: As the user gave them.
        model: A `keras.Model`.

    Returns:
        Float32 array `(images, height, width, channels)`.

    Raises:
        ValueError: If they are anything else.
    """
    images = np.asarray(images)
    shape = model.input_shape
    if (
        images.dtype.kind not in "uif"
        or images.ndim != 4
        or not images.size
        or not isinstance(shape, tuple)
        or any(
            size not in (None, given)
            for size, given in zip(shape[1:], images.shape[1:], strict=True)
        )
    ):
        raise ValueError(
            f"`images` must be numbers of shape {shape}. Received: an array "
            f"of {images.dtype} of shape {images.shape}"
        )
    return images.astype("float32")


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
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(
            "`batch_size` must be a positive integer. "
            f"Received: batch_size={size!r}"
        )
    return [images[i : i + size] for i in range(0, len(images), size)]
