"""The settings of readers that keep an image's ratio."""

import dataclasses

from gcvit_keras import checks
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_keras.images.settings import SavedSettings


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
