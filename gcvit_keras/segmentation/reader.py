"""How image files become a segmenter's input."""

import dataclasses

from gcvit_keras.images.sides import SidesReader


@dataclasses.dataclass(frozen=True)
class SegmentationReader(SidesReader):
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

    short_side: int | None = 512
    long_side: int = 2048
