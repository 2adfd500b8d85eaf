"""Class activation maps."""

import keras
import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.explain.gradient import layer_gradient, score_gradient
from gcvit_keras.explain.recording import batches, checked_images, input_size
from gcvit_keras.models import structure

METHODS = ("gradcam", "gradcam++", "layercam")


def grad_cam(
    model,
    images,
    class_index=None,
    layer=None,
    method="gradcam",
    batch_size=16,
) -> np.ndarray:
    """Maps where an image speaks for a class.

    The gradient is of the class's logit: what the last activation is given,
    where that is a layer's (`Dense(activation=...)`, `Activation`,
    `Softmax`) or `keras.ops.softmax` or `sigmoid`. Other heads, such as a
    `Lambda` layer, are differentiated through, and their gradient may vanish.

    Args:
        model: A classifier of this library, or a functional or Sequential
            model that holds one. Its outputs `(images, classes)` are taken as
            scores, also where they are features.
        images: Array `(images, height, width, channels)`, as the model takes
            them: pixels in [0, 255] where it normalises them itself.
        class_index: Class to explain, an integer, or one for each image. Of
            a model with a single score 0 is the negative class and 1 the
            positive one. Default: the class with the highest score.
        layer: Layer whose output `(images, height, width, channels)` is
            weighed, or its name. Default: the last block of the last level,
            at a 32nd of the image's size.
        method: `"gradcam"`: each channel weighed by the mean of its gradient
            (Selvaraju et al., arXiv 1610.02391, equation 2); `"gradcam++"`:
            by its positive gradients, of which those count more that stand
            alone (Chattopadhay et al., arXiv 1710.11063, equations 10 and
            19); `"layercam"`: each place by its own positive gradient (Jiang
            et al., 2021), for early layers.
        batch_size: Images that are computed at once.

    Returns:
        Float32 array `(images, height, width)` in [0, 1], the map enlarged to
        the image and divided by its maximum; zeros where nothing speaks for
        the class. A layer of one place, as the last level's is up to 32 x 32
        pixels, gives a map that is 1 everywhere, or 0; an earlier one says
        more.

    Raises:
        ValueError: For an argument out of range, scores that are NaN, or a
            model that calls its GC ViT more than once, or gives it something
            else than the whole image, resized at most.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> gcvit_keras.explain.grad_cam(model, images, class_index=3).shape
    (1, 64, 64)
    """
    images = checked_images(images, model)
    structure.blocks(model)  # one GC ViT it is
    checks.one_of("method", method, METHODS)
    layer = _layer(model, layer)
    classes = _classes(model, class_index, len(images))
    seen = input_size(model, images)
    maps = []
    for part, wanted in zip(
        batches(images, batch_size), batches(classes, batch_size), strict=True
    ):
        if class_index is None:
            wanted = None
        tensors = score_gradient(model, layer, part, wanted)
        maps.append(_weighed(layer, *tensors, method))
    return _finished(np.concatenate(maps), images.shape[1:3], seen)


def map_of(layer, compute, method, size):
    """Makes the map of a score of one image, float32 in [0, 1].

    `layer` and `compute` are those of `layer_gradient`; `size` is the image's
    `(height, width)`. Raises a `ValueError` if the score does not depend on the
    layer, or that gives no feature map.
    """
    maps = _weighed(layer, *layer_gradient(layer, compute), method)
    return _finished(maps, size)[0]


def _weighed(layer, output, gradient, method):
    """Weighs the channels of a layer's output by the gradient of a score.

    Returns:
        Float32 array `(images, height, width)`, at least 0.
    """
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
    output, gradient = (
        ops.convert_to_numpy(ops.cast(x, "float32")) for x in (output, gradient)
    )
    if method == "gradcam":
        weights = gradient.mean((1, 2), keepdims=True)
    elif method == "layercam":
        weights = np.maximum(gradient, 0)
    else:
        # The score is exp(logit): its derivatives are powers of the logit's.
        square, cube = gradient**2, gradient**3
        total = output.sum((1, 2), keepdims=True)
        below = 2 * square + total * cube
        alone = np.divide(
            square, below, out=np.zeros_like(square), where=below != 0
        )
        weights = (alone * np.maximum(gradient, 0)).sum((1, 2), keepdims=True)
    return np.maximum((weights * output).sum(-1), 0)


def _finished(maps, size, seen=None):
    """Enlarges maps and divides each by its maximum; see `enlarged`."""
    maps = enlarged(maps, size, seen)
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def enlarged(maps, size, seen=None):
    """Enlarges float32 maps to the images that they are of, bilinearly.

    Each place of a map `(images, height, width)` stands for a square of what
    the GC ViT sees, of which the last ones may go beyond it. That is `seen`,
    `(height, width)`, where the model resizes its images of `size`.
    """
    rows, columns = (
        _interpolation(places, side, reach(places, pixels))
        for places, side, pixels in zip(
            maps.shape[1:], size, seen or size, strict=True
        )
    )
    return (rows @ maps @ columns.T).astype("float32")


def reach(places, pixels):
    """Computes the length of a side of a map, relative to the image's side.

    A place of the map is a square of pixels whose side, the stride, is a power
    of two. The last one may go beyond the image: the result is 1 or more.
    `pixels` is the side of what the GC ViT sees.
    """
    stride = 1
    while -(-pixels // stride) > places:
        stride *= 2
    # A map no smaller than the GC ViT's input is of a layer before a resizing.
    return stride * places / pixels if stride > 1 else 1.0


def _interpolation(places, side, reach):
    """Makes the bilinear matrix `(side, places)`, half-pixel centres."""
    at = (np.arange(side) + 0.5) * places / (reach * side) - 0.5
    numbers = np.arange(places)
    return np.stack([np.interp(at, numbers, k) for k in np.eye(places)], 1)


def checked_classes(classes, num_classes) -> list[int]:
    """Checks the classes that are explained, and makes a list of `int` of them.

    Raises a `ValueError` if they are no list of integers below `num_classes`.
    """
    try:
        numbers = [checks.integer("classes", k, least=0) for k in classes]
        if max(numbers, default=0) < num_classes:
            return numbers
    except (TypeError, ValueError):  # no list, or not of such integers
        pass
    accepted = f"a list of integers from 0 to {num_classes - 1}"
    raise checks.error("classes", accepted, classes)


def _layer(model, layer):
    """Finds the layer that is meant."""
    last = structure.last_blocks(model)
    if layer is None:
        return last[max(last)]
    if isinstance(layer, keras.Layer):
        return layer
    named = [x for x in structure.all_layers(model) if x.name == layer]
    if len(named) != 1:
        some = [structure.stem(model), *last.values()]
        names = ", ".join(repr(x.name) for x in some)
        accepted = f"a layer of the model or the name of one, such as {names}"
        if named:
            accepted += f", and not of {len(named)} layers"
        raise checks.error("layer", accepted, layer)
    return named[0]


def _classes(model, class_index, count):
    """Checks the classes, one integer per image."""
    shape = model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or not shape[1]:
        raise ValueError(
            "`model` must be a classifier, with scores (images, classes). "
            f"Received: {model.name!r}, which gives {shape}"
        )
    # A single score stands for two classes, "not" and "yes".
    most = max(shape[-1], 2) - 1
    try:
        classes = np.asarray(0 if class_index is None else class_index)
    except ValueError:  # lists of different lengths
        classes = np.asarray(None)
    if (
        classes.dtype.kind not in "ui"
        or classes.shape not in ((), (count,))
        or classes.min() < 0
        or classes.max() > most
    ):
        raise ValueError(
            f"`class_index` must be an integer from 0 to {most}, or "
            f"one for each of the {count} images. "
            f"Received: class_index={class_index!r}"
        )
    return np.broadcast_to(classes.astype("int64"), count)
