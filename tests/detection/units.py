"""Numbers of single operations of mmdet; DETECTORS.md describes them."""

import os
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "data" / "detection"


def load():
    """Reads `detector_units.npz` of the folder that GCVIT_REFERENCE names."""
    folder = Path(os.environ.get("GCVIT_REFERENCE", DATA))
    return np.load(folder / "detector_units.npz")
