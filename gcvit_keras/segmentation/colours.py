"""Colours of classes, and class maps laid over images."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


def draw_classes(image, classes, labels=None):
    """Lays a class map over its image, with a legend below.

    Args:
        image: Array `(height, width, 3)`, pixels in [0, 255].
        classes: Integer array `(height, width)`; 255 stays as it is.
        labels: Names of the classes, a list of strings. Default: their
            numbers.

    Returns:
        Uint8 array `(height and the legend's, width, 3)`: classes by falling
        share of the image.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import draw_classes
    >>> picture = draw_classes(np.zeros((64, 96, 3)), np.zeros((64, 96), int))
    >>> picture.shape[0] > 64, picture.shape[1]
    (True, 96)
    """
    pixels = overlay(image, classes)
    height, width = pixels.shape[:2]
    found, counts = np.unique(classes[classes != IGNORED], return_counts=True)
    order = found[np.argsort(-counts, kind="stable")]
    font = ImageFont.load_default(max(10, round(max(height, width) / 45)))
    side = round(1.5 * font.size)
    texts = [str(k) if labels is None else labels[k] for k in order]
    places, x, y = [], 0, 0
    for text in texts:
        wide = side + font.getlength(text) + side
        if x and x + wide > width:
            x, y = 0, y + side
        places.append((x, y))
        x += wide
    legend = Image.new("RGB", (width, y + side), "white")
    draw = ImageDraw.Draw(legend)
    for k, text, (x, y) in zip(order, texts, places, strict=True):
        square = (
            x + 0.25 * side,
            y + 0.25 * side,
            x + 0.75 * side,
            y + 0.75 * side,
        )
        draw.rectangle(square, fill=tuple(class_colours(256)[k].tolist()))
        draw.text((x + side, y + side / 2), text, "black", font, anchor="lm")
    return np.concatenate([pixels, np.asarray(legend)])
