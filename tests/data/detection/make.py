"""Copies the detectors' references, without the arrays that no test reads.

python tests/data/detection/make.py FOLDER
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np

UNREAD = re.compile(
    "input|backbone_.|mask_probs|mask_roi_feats|s._roi_feats|s._mask_logits"
    "|rpn_pre_.*|rpn_keep_.|.*/rpn_labels|.*/rpn_max_iou_.|spread/.*"
)

source, target = Path(sys.argv[1]), Path(__file__).parent
for name in ("official_maskrcnn_nano", "official_cascade_nano"):
    for suffix in (".safetensors", ".json"):
        shutil.copyfile(source / f"{name}{suffix}", target / f"{name}{suffix}")
    for suffix in ("_io.npz", "_train.npz"):
        arrays = np.load(source / f"{name}{suffix}")
        kept = {k: arrays[k] for k in arrays.files if not UNREAD.fullmatch(k)}
        np.savez_compressed(target / f"{name}{suffix}", **kept)
for name in ("detector_facts.json", "detector_keys.json.gz"):
    shutil.copyfile(source / name, target / name)
