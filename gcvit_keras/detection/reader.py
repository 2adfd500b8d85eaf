"""How image files become a detector's input."""

import dataclasses

from gcvit_keras import checks
from gcvit_keras.images.sides import SidesReader


@dataclasses.dataclass(frozen=True)
class DetectionReader(SidesReader):
    """Resizes images as `MaskRCNN.detect` does, keeping their ratio.

    Exports of detectors have one in a file.

    Args:
        short_side: Length in pixels of the shorter side, an integer; the
            default is the published one.
        long_side: Length in pixels that the longer side does not exceed, for
            which the shorter one may get shorter, an integer.
        max_pixels: Height times width above which a file is refused, before
            it is decoded.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
    >>> from gcvit_keras.detection import DetectionReader
    >>> DetectionReader(short_side=480).to_dict()
    {'short_side': 480, 'long_side': 1333, 'max_pixels': 89478485}
    """

    FILE = "detection_reader.json"

    short_side: int = 800
    long_side: int = 1333

    def __post_init__(self):
        """Checks the settings; a detector's images always have a size."""
        checks.integer("short_side", self.short_side)
        super().__post_init__()
