"""Inputs of detectors: images, their sizes, and the ground truth."""

import keras
import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.weights.presets import PIXEL_MEAN

MASKS = ("masks", "box_masks")
"""Forms of the ground truth's masks in the targets."""


def split_inputs(inputs):
    """Takes the images and their sizes from what a detector is called with.

    Args:
        inputs: Images, a tensor `(batch, height, width, 3)`; or a dict of
            `"images"` and `"sizes"`, integers `(batch, 2)`: height and width
            of each image without the padding at its right and bottom.

    Returns:
        Tuple of the images and the int32 sizes, by default all of them.

    Raises:
        ValueError: If it is neither, or an image has no pixels.
    """
    if not isinstance(inputs, dict):
        inputs = {"images": inputs}
    if set(inputs) - {"sizes"} != {"images"}:
        accepted = 'images, or a dict of "images" and "sizes"'
        raise checks.error("inputs", accepted, sorted(inputs))
    images = ops.convert_to_tensor(inputs["images"])
    if len(images.shape) != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise checks.error(
            "images",
            "of shape (batch, height, width, 3), with pixels",
            tuple(images.shape),
        )
    batch, height, width, _ = ops.shape(images)
    if inputs.get("sizes") is None:
        sizes = ops.stack([height, width])[None]
        sizes = ops.repeat(ops.cast(sizes, "int32"), batch, axis=0)
    else:
        sizes = ops.cast(inputs["sizes"], "int32")
    if not _fits(sizes.shape, (images.shape[0], 2)):
        raise checks.error("sizes", "of shape (batch, 2)", tuple(sizes.shape))
    return images, sizes


def with_sizes(images, targets):
    """Takes the sizes of padded images from the targets, if they say.

    Returns a dict of `"images"` and, where they are known, `"sizes"`, integers
    `(batch, 2)`.
    """
    inputs = images if isinstance(images, dict) else {"images": images}
    if isinstance(targets, dict) and "sizes" in targets:
        return {"sizes": targets["sizes"], **inputs}
    return inputs


def padding_pixel(backbone):
    """Tells the pixel that a `GCViTBackbone`'s normalisation makes zeros.

    It is ImageNet's mean where the backbone normalises, three numbers.
    """
    if backbone.get_config()["include_preprocessing"]:
        return list(PIXEL_MEAN)
    return [0.0, 0.0, 0.0]


def fill_padding(images, sizes, pixel):
    """Sets what is outside of each image, or not finite, to one colour.

    Images `(batch, height, width, 3)`, sizes `(batch, 2)` and the three numbers
    of `padding_pixel` give images of float32 at least.
    """
    images = ops.cast(
        images, keras.backend.result_type(images.dtype, "float32")
    )
    _, height, width, _ = ops.shape(images)
    rows = ops.arange(height, dtype="int32") < sizes[:, :1]
    columns = ops.arange(width, dtype="int32") < sizes[:, 1:]
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    keep = inside & ops.isfinite(images)
    return ops.where(keep, images, ops.cast(pixel, images.dtype))


def prepare_targets(targets, sizes, num_classes):
    """Converts the ground truth, and makes unusable objects filling.

    Objects without an area, with a box that is not finite or outside of the
    image, or a class out of range become filling.

    Args:
        targets: Dict of `"boxes"` `(batch, n, 4)`, `"classes"` `(batch, n)`
            and, where masks are learned, `"masks"` `(batch, n, height,
            width)` or `"box_masks"` `(batch, n, cells, cells)`.
        sizes: Int32 tensor `(batch, 2)` of heights and widths.
        num_classes: Classes without the background, an integer.

    Returns:
        Dict of float32 boxes, int32 classes, and masks, for one object at
        least, which may be filling.
    """
    boxes = ops.cast(targets["boxes"], "float32")
    classes = ops.cast(targets["classes"], "int32")
    masks = {name: targets[name] for name in MASKS if name in targets}
    if "masks" in masks:  # in files of masks 255 is as good as 1
        masks["masks"] = ops.not_equal(masks["masks"], 0)
    if boxes.shape[1] in (0, None):  # which may be 0 in a graph's batch
        boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)))
        classes = ops.pad(classes, ((0, 0), (0, 1)), constant_values=-1)
        masks = {
            name: ops.pad(value, ((0, 0), (0, 1), (0, 0), (0, 0)))
            for name, value in masks.items()
        }
    usable = ops.all(ops.isfinite(boxes), axis=-1)
    usable = usable & (boxes[..., 2] > boxes[..., 0])
    usable = usable & (boxes[..., 3] > boxes[..., 1])
    height, width = ops.split(ops.cast(sizes, "float32"), 2, axis=1)
    usable = usable & (boxes[..., 0] < width) & (boxes[..., 2] > 0)
    usable = usable & (boxes[..., 1] < height) & (boxes[..., 3] > 0)
    usable = usable & (classes >= 0) & (classes < num_classes)
    prepared = {
        "boxes": ops.where(usable[..., None], boxes, 0),
        "classes": ops.where(usable, classes, -1),
    }
    return {**prepared, **masks}


def check_targets(images, sizes, targets, num_classes):
    """Checks the ground truth: its shapes, and its values where they are known.

    In a graph they are not; there shapes are checked only. Raises a
    `ValueError`: see `check_shapes`; for images or boxes that are not finite,
    boxes without area or outside of their image, classes out of range.
    """
    check_shapes(images, targets)
    arrays = _known((images, sizes, targets["boxes"], targets["classes"]))
    if arrays is not None:
        _check_values(*arrays, num_classes)


def check_shapes(images, targets):
    """Checks the shapes of the ground truth, see `prepare_targets`.

    Raises a `ValueError` for a missing part, or a shape that does not fit that
    of the images `(batch, height, width, 3)`.
    """
    if not isinstance(targets, dict) or not {"boxes", "classes"} <= set(
        targets
    ):
        raise checks.error(
            "targets", 'a dict of "boxes", "classes" and "masks"', targets
        )
    for name in ("boxes", "classes", *MASKS, "sizes"):
        if name in targets and not hasattr(targets[name], "shape"):
            kind = type(targets[name])
            raise checks.error(f"targets[{name!r}]", "an array", kind)
    batch, height, width, _ = images.shape
    n = targets["boxes"].shape[1] if len(targets["boxes"].shape) > 1 else None
    expected = {
        "boxes": (batch, n, 4),
        "classes": (batch, n),
        "masks": (batch, n, height, width),
        "box_masks": (batch, n, None, None),
        "sizes": (batch, 2),
    }
    for name, shape in expected.items():
        if name in targets and not _fits(targets[name].shape, shape):
            raise checks.error(
                f"targets[{name!r}]",
                f"of shape {shape}",
                tuple(targets[name].shape),
            )


def _fits(shape, expected):
    return len(shape) == len(expected) and all(
        None in (a, b) or a == b for a, b in zip(shape, expected, strict=True)
    )


def _known(tensors):
    """The tensors as arrays, or `None` while a graph is made."""
    try:
        return [ops.convert_to_numpy(tensor) for tensor in tensors]
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _check_values(images, sizes, boxes, classes, num_classes):
    height, width = images.shape[1:3]
    if not np.isfinite(images).all():
        raise ValueError("`images` must be finite numbers.")
    if (sizes < 1).any() or (sizes > [height, width]).any():
        raise checks.error(
            "sizes", f"from 1 x 1 to {height} x {width}", sizes.tolist()
        )
    known = np.isin(classes, np.arange(-1, num_classes))
    if not known.all():
        raise checks.error(
            "targets['classes']",
            f"from 0 to {num_classes - 1}, or -1 for no object",
            sorted(set(classes.ravel().tolist())),
        )
    for image, (height, width) in enumerate(sizes):
        for box in boxes[image][classes[image] >= 0]:
            x1, y1, x2, y2 = box
            has_area = np.isfinite(box).all() and x1 < x2 and y1 < y2
            is_inside = x1 < width and y1 < height and x2 > 0 and y2 > 0
            if not (has_area and is_inside):
                raise checks.error(
                    "targets['boxes']",
                    "x1, y1, x2, y2 of positive area, inside of their image "
                    f"of {height} x {width}",
                    box.tolist(),
                )
