"""Copies UPerNet's references, without the arrays that no test reads.

python tests/data/segmentation/make.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import numpy as np

NAME = "official_upernet_nano"
source, target = Path(sys.argv[1]), Path(__file__).parent
for suffix in (".safetensors", ".json"):
    shutil.copyfile(source / f"{NAME}{suffix}", target / f"{NAME}{suffix}")
arrays = np.load(source / f"{NAME}_io.npz")
kept = {k: arrays[k] for k in arrays.files if not k.startswith("backbone_")}
np.savez_compressed(target / f"{NAME}_io.npz", **kept)
