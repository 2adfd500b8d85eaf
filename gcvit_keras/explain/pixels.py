"""Class activation maps of the pixels that a segmenter gives a class."""

import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.explain.cam import METHODS, checked_classes, map_of
from gcvit_keras.images.reader import as_pixels


def pixel_cam(
    model, image, classes, layer=None, method="gradcam"
) -> np.ndarray:
    """Maps where an image speaks for a class, of the pixels that have it.

    The gradient is of the sum of the class's logit over the pixels that the
    model gives it, over all where there are none (Seg-Grad-CAM, Vinogradova
    et al., arXiv 2002.11434, equation 2).

    Args:
        model: `UPerNet`.
        image: Array `(height, width, 3)` of pixels in [0, 255], of the size
            that the model is to see; or `(height, width)` of grey ones; or
            the path of an image file.
        classes: List of integers.
        layer: Layer whose output `(images, height, width, channels)` is
            weighed, or its name in the model. Default: the head's, the map
            that the classifier reads.
        method: See `grad_cam`.

    Returns:
        Float32 array `(classes, height, width)` in [0, 1], each map enlarged
        to the image and divided by its maximum; zeros where nothing speaks
        for it.

    Raises:
        ValueError: If the model is no segmenter, or an argument out of range.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras import GCViTBackbone
    >>> from gcvit_keras.explain import pixel_cam
    >>> from gcvit_keras.segmentation import UPerNet
    >>> backbone = GCViTBackbone(
    ...     embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    ...     mlp_ratio=1, level_norms=True,
    ... )
    >>> model = UPerNet(backbone, 3, channels=8)
    >>> image = 255 * np.random.default_rng(0).random((64, 96, 3))
    >>> pixel_cam(model, image, [0, 2]).shape
    (2, 64, 96)
    """
    if not hasattr(model, "decode_head"):
        raise checks.error("model", "a segmenter", type(model).__name__)
    checks.one_of("method", method, METHODS)
    image = as_pixels(image, "image").astype("float32")
    classes = checked_classes(classes, model.output_shape[-1])
    if layer is None:
        layer = model.decode_head
    elif isinstance(layer, str):
        layer = model.get_layer(layer)
    maps = [_cam(model, image[None], k, layer, method) for k in classes]
    return np.array(maps, "float32").reshape(-1, *image.shape[:2])


def _cam(model, images, class_index, layer, method):
    """Makes the map of one class, of the image's size."""

    def logit():
        logits = model(images, training=False)
        chosen = ops.argmax(logits, axis=-1) == class_index
        chosen = chosen | ~ops.any(chosen)  # all, where there are none
        return ops.sum(ops.where(chosen, logits[..., class_index], 0)), logits

    return map_of(layer, logit, method, images.shape[1:3])
