"""Class activation maps of a detector's boxes."""

import numpy as np

from gcvit_keras import checks
from gcvit_keras.explain.cam import METHODS, checked_classes, map_of
from gcvit_keras.images.reader import as_pixels
from gcvit_keras.models import structure

DIVISOR = 32
"""Detectors see images padded to a multiple of it."""


def box_cam(
    model, image, boxes, classes, layer=None, method="gradcam"
) -> np.ndarray:
    """Maps where an image speaks for the classes of a detector's boxes.

    The gradient is of a logit: what the box head gives the class when it
    looks at the box, on average over the stages of a cascade (Grad-CAM,
    Selvaraju et al., arXiv 1610.02391, equation 2).

    Args:
        model: `MaskRCNN` or `CascadeMaskRCNN`.
        image: Array `(height, width, 3)` of pixels in [0, 255], of the size
            that the model is to see; or `(height, width)` of grey ones; or
            the path of an image file.
        boxes: Array `(n, 4)` of left, top, right and bottom, in pixels of the
            image.
        classes: `n` integers.
        layer: Layer whose output `(images, height, width, channels)` is
            weighed, or its name in the backbone. Default: for each box the
            last block of the backbone's level that the box is read from.
        method: See `grad_cam`.

    Returns:
        Float32 array `(n, height, width)` in [0, 1], each map enlarged to the
        image and divided by its maximum; zeros where nothing speaks for it.

    Raises:
        ValueError: If the model is no detector, or an argument out of range.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras import GCViTBackbone
    >>> from gcvit_keras.detection import MaskRCNN
    >>> from gcvit_keras.explain import box_cam
    >>> backbone = GCViTBackbone(
    ...     embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    ...     mlp_ratio=1, level_norms=True,
    ... )
    >>> model = MaskRCNN(backbone, 3, fpn_channels=8, fc_channels=8)
    >>> image = 255 * np.random.default_rng(0).random((64, 96, 3))
    >>> box_cam(model, image, [[8, 8, 56, 40]], [2]).shape
    (1, 64, 96)
    """
    if not hasattr(model, "class_logits"):
        raise checks.error("model", "a detector", type(model).__name__)
    checks.one_of("method", method, METHODS)
    image = as_pixels(image, "image").astype("float32")
    boxes = _checked_boxes(boxes)
    classes = checked_classes(classes, model.num_classes)
    if len(classes) != len(boxes):
        accepted = f"one for each of {len(boxes)} boxes"
        raise checks.error("classes", accepted, classes)
    height, width = image.shape[:2]
    padding = ((0, -height % DIVISOR), (0, -width % DIVISOR), (0, 0))
    inputs = {
        "images": np.pad(image, padding)[None],
        "sizes": np.array([[height, width]], "int32"),
    }
    maps = [
        _cam(model, inputs, box, k, _layer(model, layer, box), method)
        for box, k in zip(boxes, classes, strict=True)
    ]
    return np.array(maps, "float32").reshape(-1, *inputs["images"].shape[1:3])[
        :, :height, :width
    ]


def _checked_boxes(boxes):
    """Checks the boxes; returns a float32 array `(n, 4)`."""
    try:
        array = np.asarray(boxes, "float32")
    except (TypeError, ValueError):  # lists of different lengths, for one
        array = np.full(1, np.nan)
    array = array if array.size else array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise checks.error("boxes", "finite numbers of shape (n, 4)", boxes)
    return array


def _cam(model, inputs, box, class_index, layer, method):
    """Makes the map of one box, of the padded image's size."""

    def logit():
        pyramid = model.features(inputs)["pyramid"]
        logits = model.class_logits(pyramid, box[None, None])
        return logits[0, 0, class_index], logits

    return map_of(layer, logit, method, inputs["images"].shape[1:3])


def _layer(model, layer, box):
    if layer is None:
        return structure.last_blocks(model)[model.box_level(box)]
    if isinstance(layer, str):
        return model.backbone.get_layer(layer)
    return layer
