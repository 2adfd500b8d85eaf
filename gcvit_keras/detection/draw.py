"""Draws detections into their image."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gcvit_keras import checks

OPACITY = 0.45
"""Of masks."""
GOLDEN = 0.618034
"""Turn of the colour wheel from class to class: neighbours look different."""


def draw_detections(image, detections, labels=None, score_threshold=0.0):
    """Draws boxes, masks, names and scores, the best on top.

    Args:
        image: Uint8 array `(height, width, 3)`.
        detections: Dict of `"boxes"` `(n, 4)` in pixels of the image and
            `"classes"` `(n,)`; where there are any, `"scores"` `(n,)` and
            `"masks"`, booleans `(n, height, width)`; as `MaskRCNN.detect`
            gives for an image.
        labels: Names of the classes, a list of strings. Default: their
            numbers.
        score_threshold: Least score of what is drawn.

    Returns:
        Uint8 array `(height, width, 3)`.

    Raises:
        ValueError: If `image` is no such array.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection import draw_detections
    >>> image = np.zeros((64, 96, 3), "uint8")
    >>> found = {
    ...     "boxes": np.array([[8.0, 16, 40, 56]]),
    ...     "scores": np.array([0.9]),
    ...     "classes": np.array([0]),
    ... }
    >>> picture = draw_detections(image, found, ["cat"])
    >>> picture.shape, bool(picture[40, 8].any()), bool(picture[60, 80].any())
    ((64, 96, 3), True, False)
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise checks.error(
            "image",
            "uint8 of shape (height, width, 3)",
            f"{image.dtype} {image.shape}",
        )
    classes = [int(k) for k in detections["classes"]]
    scores = detections.get("scores")
    shown = np.arange(len(classes))
    if scores is not None:
        shown = shown[np.asarray(scores) >= score_threshold]
    pixels = image.astype("float32")
    for i in shown[::-1]:
        if "masks" in detections:
            mask = np.asarray(detections["masks"][i], bool)
            colour = np.array(class_colour(classes[i]), "float32")
            pixels[mask] += OPACITY * (colour - pixels[mask])
    picture = Image.fromarray(np.round(pixels).astype("uint8"))
    draw = ImageDraw.Draw(picture)
    side = max(image.shape[:2])
    width = max(1, round(side / 400))
    font = ImageFont.load_default(max(10, round(side / 50)))
    for i in shown[::-1]:
        colour = class_colour(classes[i])
        box = [float(x) for x in detections["boxes"][i]]
        draw.rectangle(box, outline=colour, width=width)
        name = str(classes[i]) if labels is None else labels[classes[i]]
        text = name if scores is None else f"{name} {scores[i]:.2f}"
        _write(draw, text, box, colour, font, image.shape)
    return np.asarray(picture)


def class_colour(class_index):
    """Chooses the colour of a class, three integers in [0, 255]."""
    rgb = colorsys.hsv_to_rgb((0.05 + class_index * GOLDEN) % 1, 0.8, 1.0)
    return tuple(round(255 * x) for x in rgb)


def _write(draw, text, box, colour, font, shape):
    """Writes on the colour, above a box or, where there is no room, in it."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = right - left + 4, bottom - top + 4
    x = min(max(box[0], 0), max(shape[1] - wide, 0))
    y = box[1] - high if box[1] >= high else max(box[1], 0)
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    ink = "black" if luma > 110 else "white"
    draw.text((x + 2 - left, y + 2 - top), text, fill=ink, font=font)
