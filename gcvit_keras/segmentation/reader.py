"""How image files become a segmenter's input."""

import dataclasses

from gcvit_keras import checks
from gcvit_keras.images.reader import MAX_PIXELS
from gcvit_keras.images.settings import SavedSettings


@dataclasses.dataclass(frozen=True)
class SegmentationReader(SavedSettings):
    """Resizes images as `UPerNet.segment` does, keeping their ratio.

    A run of a segmenter, and its exports, have one in a file.

    Args:
        short_side: Length in pixels of the shorter side, an integer; `None`
            leaves images as they are.
        long_side: Length in pixels that the longer side does not exceed, for
            which the shorter one may get shorter, an integer.
        max_pixels: Height times width above which a file is refused, before
            it is decoded.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
    >>> from gcvit_keras.segmentation import SegmentationReader
    >>> SegmentationReader(short_side=480).to_dict()
    {'short_side': 480, 'long_side': 2048, 'max_pixels': 89478485}
    """

    FILE = "segmentation_reader.json"
    channels = 3

    short_side: int | None = 512
    long_side: int = 2048
    max_pixels: int = MAX_PIXELS

    def __post_init__(self):
        """Checks the settings."""
        if self.short_side is not None:
            checks.integer("short_side", self.short_side)
        checks.integer("long_side", self.long_side, self.short_side or 1)
        checks.integer("max_pixels", self.max_pixels)
