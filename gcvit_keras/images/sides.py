"""How images are resized that keep their ratio: the rule, and its settings."""

import dataclasses

import numpy as np

from gcvit_keras import checks
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_keras.images.settings import SavedSettings


def resized_sides(sides, short_side, long_side, scale=1.0, xp=np):
    """Computes sides that keep their ratio, as mmcv rounds them: halves up.

    Args:
        sides: Numbers `(..., 2)`: heights and widths, in any order.
        short_side: Length of the shorter side, if the longer one allows: a
            number or numbers `(...)`; `None` leaves sides as they are.
        long_side: Length that the longer side does not exceed; likewise.
        scale: Factor on the result, before it is rounded; likewise.
        xp: Namespace to compute with: `numpy`, or in a graph
            `tf.experimental.numpy`.

    Returns:
        Whole numbers `(..., 2)`, 1 at least, of dtype float64.

    Examples:
    >>> from gcvit_keras.images.sides import resized_sides
    >>> resized_sides((480, 640), 800, 1333).tolist()
    [800.0, 1067.0]
    """
    sides = xp.asarray(sides, "float64")
    factor = xp.asarray(scale, "float64")
    if short_side is not None:
        factor = factor * xp.minimum(
            xp.asarray(short_side, "float64") / xp.min(sides, axis=-1),
            xp.asarray(long_side, "float64") / xp.max(sides, axis=-1),
        )
    return xp.maximum(xp.floor(sides * factor[..., None] + 0.5), 1.0)


@dataclasses.dataclass(frozen=True)
class SidesReader(SavedSettings):
    """Resizes images to a shorter side, unless the longer one forbids it.

    Args:
        short_side: Length in pixels of the shorter side, an integer; `None`
            leaves images as they are.
        long_side: Length in pixels that the longer side does not exceed, an
            integer.
        max_pixels: Height times width above which a file is refused, before
            it is decoded.

    Raises:
        ValueError: If an argument is out of range.
    """

    channels = 3

    short_side: int | None
    long_side: int
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        """Checks the settings, and keeps them as Python's own numbers."""
        short = self.short_side
        if short is not None:
            short = checks.integer("short_side", short)
        checked = {
            "short_side": short,
            "long_side": checks.integer(
                "long_side", self.long_side, least=short or 1
            ),
            "max_pixels": checks.integer("max_pixels", self.max_pixels),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
