"""Masks: what the mask head has to predict, and its result in the image."""


def mask_targets(masks, boxes, objects, output_size=28):
    """Cuts and scales the ground truth's masks to the boxes.

    RoIAlign of a mask at scale 1 on each box, on if >= 0.5.

    Args:
        masks: Tensor `(batch, m, height, width)`, uint8 or boolean: masks of
            the ground truth in the size of the network's input.
        boxes: Tensor `(batch, n, 4)`: positive boxes, filled up with zeros.
        objects: Integer tensor `(batch, n)`: index of each box's ground truth,
            any valid one for filling.
        output_size: Height and width of a target. Defaults to 28.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size)` of 0 and 1.
    """
    raise NotImplementedError


def paste_masks(probabilities, boxes, height, width, threshold=0.5):
    """Draws the masks of boxes into the whole image, inside a graph.

    A pixel's centre is looked up in the mask, bilinearly, with zeros outside
    of it; it is on if the value >= `threshold`. No box is rounded.

    Args:
        probabilities: Tensor `(batch, n, size, size)` in [0, 1].
        boxes: Tensor `(batch, n, 4)` in pixels of the image.
        height: Of the image, an integer or a scalar tensor.
        width: Of the image, an integer or a scalar tensor.
        threshold: Least value that is on. Defaults to 0.5.

    Returns:
        Boolean tensor `(batch, n, height, width)`.
    """
    raise NotImplementedError


def paste_masks_numpy(probabilities, boxes, height, width, threshold=0.5):
    """Draws the masks of one image's boxes, each only where its box is.

    Args:
        probabilities: Array `(n, size, size)` in [0, 1].
        boxes: Array `(n, 4)` in pixels of the image.
        height: Of the image, an integer.
        width: Of the image, an integer.
        threshold: Least value that is on. Defaults to 0.5.

    Returns:
        Boolean array `(n, height, width)`.
    """
    raise NotImplementedError
