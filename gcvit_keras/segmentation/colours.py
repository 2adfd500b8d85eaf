"""Colours of classes, and class maps laid over images."""

import numpy as np

from gcvit_keras.segmentation.losses import IGNORED


def class_colours(classes):
    """Gives each class a colour: those of Pascal VOC, by the class's bits.

    Args:
        classes: Number of classes, an integer of at most 256.

    Returns:
        Uint8 array `(classes, 3)`.

    Examples:
    >>> from gcvit_keras.segmentation import class_colours
    >>> class_colours(3).tolist()
    [[128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    # From 1 on: 0 is black, as if there were nothing.
    numbers = np.arange(1, classes + 1)
    colours = np.zeros((classes, 3), "uint8")
    for bit in range(8):
        for channel in range(3):
            one = (numbers >> (3 * bit + channel)) & 1
            colours[:, channel] |= np.uint8(one << (7 - bit))
    return colours


def overlay(image, classes, alpha=0.5):
    """Lays a class map over its image, in colours.

    Args:
        image: Array `(height, width, 3)`, pixels in [0, 255].
        classes: Integer array `(height, width)`; 255 stays as it is.
        alpha: Share of the colours, in [0, 1].

    Returns:
        Uint8 array `(height, width, 3)`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import overlay
    >>> overlay(np.zeros((1, 2, 3)), np.array([[0, 255]])).tolist()
    [[[64, 0, 0], [0, 0, 0]]]
    """
    image, classes = np.asarray(image, "float32"), np.asarray(classes)
    colours = class_colours(256)[classes.astype("uint8")]
    mixed = (1 - alpha) * image + alpha * colours
    mixed = np.where((classes == IGNORED)[..., None], image, mixed)
    return np.clip(np.round(mixed), 0, 255).astype("uint8")
