"""Class activation maps."""

import keras
import numpy as np
from keras import ops

from gcvit_keras.explain.gradient import score_gradient
from gcvit_keras.explain.recording import (
    batches,
    blocks_of,
    checked_images,
    layers_of,
)

METHODS = ("gradcam", "gradcam++", "layercam")


def grad_cam(
    model,
    images,
    class_index=None,
    layer=None,
    method="gradcam",
    batch_size=16,
) -> np.ndarray:
    """Where an image speaks for a class.

    Args:
        model: A classifier of this library, or a functional or Sequential
            model that holds one.
        images: Array `(images, height, width, channels)`, as the model takes
            them: pixels in [0, 255] where it normalises them itself.
        class_index: Class to explain, an integer, or one an image. Default:
            that with the highest score.
        layer: Layer whose output `(images, height, width, channels)` is
            weighed, or its name. Default: the last block of the last level.
        method: `"gradcam"`: each channel weighed by the mean of its gradient
            (Selvaraju et al., arXiv 1610.02391, equation 2); `"gradcam++"`:
            by its positive gradients, of which those count more that stand
            alone (Chattopadhay et al., arXiv 1710.11063, equations 10 and
            19); `"layercam"`: each place by its own positive gradient (Jiang
            et al., 2021), for early layers.
        batch_size: Images that are computed at once.

    Returns:
        Float32 array `(images, height, width)` in [0, 1]: the map, enlarged
        to the image, over its maximum; zeros where nothing speaks for the
        class.

    Raises:
        ValueError: For an argument out of range.
    """
    images = checked_images(images, model)
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}. Received: method={method!r}"
        )
    layer = _layer(model, layer)
    classes = _classes(model, class_index, len(images))
    maps = []
    for part, wanted in zip(
        batches(images, batch_size), batches(classes, batch_size), strict=True
    ):
        if class_index is None:
            wanted = None
        output, gradient = score_gradient(model, layer, part, wanted)
        if len(output.shape) != 4:
            raise ValueError(
                "`layer` must give a feature map (images, height, width, "
                f"channels). Received: {layer.name!r}, which gives "
                f"{tuple(output.shape)}"
            )
        if gradient is None:
            raise ValueError(
                "`layer` must be one that the scores depend on. "
                f"Received: {layer.name!r}"
            )
        maps.append(
            _weighed(
                ops.convert_to_numpy(ops.cast(output, "float32")),
                ops.convert_to_numpy(ops.cast(gradient, "float32")),
                method,
            )
        )
    maps = np.concatenate(maps)
    maps = enlarged(maps, images.shape[1:3])
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def _weighed(output, gradient, method):
    """Array `(images, height, width)`, not negative."""
    if method == "gradcam":
        weights = gradient.mean((1, 2), keepdims=True)
    elif method == "layercam":
        weights = np.maximum(gradient, 0)
    else:
        # Of exp(logit), whose derivatives are powers of the logit's first.
        square, cube = gradient**2, gradient**3
        total = output.sum((1, 2), keepdims=True)
        below = 2 * square + total * cube
        alone = np.divide(
            square, below, out=np.zeros_like(square), where=below != 0
        )
        weights = (alone * np.maximum(gradient, 0)).sum((1, 2), keepdims=True)
    return np.maximum((weights * output).sum(-1), 0)


def enlarged(maps, size):
    """Enlarges maps to the images that they are of.

    Args:
        maps: Float32 array `(images, height, width)`. Each place stands for a
            square of the image, of which the last ones may go beyond it.
        size: `(height, width)` of the images.

    Returns:
        Float32 array `(images, *size)`, bilinear.
    """
    sides = []
    for side, places in zip(size, maps.shape[1:], strict=True):
        stride = 1
        while -(-side // stride) > places:
            stride *= 2
        sides.append(stride * places)
    large = ops.image.resize(maps[..., None], sides, interpolation="bilinear")
    return ops.convert_to_numpy(large)[:, : size[0], : size[1], 0]


def _layer(model, layer):
    """The layer that is meant."""
    if layer is None:
        return list(blocks_of(model).values())[-1]
    if isinstance(layer, keras.Layer):
        return layer
    named = layers_of(model)
    found = named.get(layer, []) if isinstance(layer, str) else []
    if len(found) != 1:
        raise ValueError(
            "`layer` must be a layer of the model or the name of one"
            + (f", not of {len(found)}" if found else "")
            + f". Received: layer={layer!r}"
        )
    return found[0]


def _classes(model, class_index, count):
    """An integer an image."""
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(
            "`model` must be a classifier, with scores (images, classes). "
            f"Received: {model.name!r}, which gives {shape}"
        )
    classes = np.asarray(0 if class_index is None else class_index)
    if (
        classes.dtype.kind not in "ui"
        or classes.shape not in ((), (count,))
        or classes.min() < 0
        or classes.max() >= shape[-1]
    ):
        raise ValueError(
            f"`class_index` must be an integer from 0 to {shape[-1] - 1}, or "
            f"one for each of the {count} images. "
            f"Received: class_index={class_index!r}"
        )
    return np.broadcast_to(classes, count)
