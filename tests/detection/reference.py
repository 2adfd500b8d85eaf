"""The detectors that mmdet's numbers are of, and these numbers."""

import json
import os
import re
from pathlib import Path

import numpy as np

from gcvit_keras import GCViTBackbone
from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN

OWN = Path(__file__).parent.parent / "data" / "detection"
FOLDER = Path(os.environ.get("GCVIT_REFERENCE", OWN))

CLASSES = {"maskrcnn": MaskRCNN, "cascade": CascadeMaskRCNN}


class Reference:
    """One of mmdet's two detectors.

    Attributes:
        name: `"maskrcnn"` or `"cascade"`.
        detector_class: `MaskRCNN` or `CascadeMaskRCNN`.
        facts: The JSON file.
        io: The arrays of inference.
        train: Those of a training step.
        stages: How many looks at a region.
        sizes: Int array `(2, 2)`, heights and widths of the two images.
    """

    def __init__(self, name):
        file = FOLDER / f"official_{name}_nano"
        self.name = name
        self.detector_class = CLASSES[name]
        self.weights = f"{file}.safetensors"
        self.facts = json.loads(Path(f"{file}.json").read_text())
        self.io = np.load(f"{file}_io.npz")
        self.train = np.load(f"{file}_train.npz")
        self.stages = 3 if name == "cascade" else 1
        images = self.facts["images"]
        self.sizes = np.array([i["img_shape"] for i in images], "int32")
        self.batch_size = images[0]["batch_input_shape"]

    def model(self, **overrides):
        """Builds the detector, with the reference's weights by default."""
        size = self.facts["backbone"]
        backbone = GCViTBackbone(
            embed_dim=size["dim"],
            depths=size["depths"],
            num_heads=size["num_heads"],
            mlp_ratio=size["mlp_ratio"],
            layer_scale=1e-5 if size["layer_scale"] else None,
            window_size=size["window_size"],
            query_pools=(3, 2, 1, 0),
            level_norms=True,
        )
        arguments = {
            "weights": self.weights,
            "fpn_channels": 32,
            "fc_channels": 64,
            **overrides,
        }
        return self.detector_class(backbone, self.facts["classes"], **arguments)

    def inputs(self, padding=255.0):
        """Both images in one batch; what is in the padding must not matter."""
        images = np.full((2, *self.batch_size, 3), padding, "float32")
        for i, (height, width) in enumerate(self.sizes):
            images[i, :height, :width] = self.io[f"image_{i}"]
        return {"images": images, "sizes": self.sizes}

    def targets(self):
        """The ground truth, filled up to the same number of objects."""
        counts = [len(self.io[f"gt_labels_{i}"]) for i in (0, 1)]
        n = max(counts)
        boxes = np.zeros((2, n, 4), "float32")
        classes = np.full((2, n), -1, "int32")
        masks = np.zeros((2, n, *self.batch_size), "uint8")
        for i, count in enumerate(counts):
            height, width = self.sizes[i]
            boxes[i, :count] = self.io[f"gt_boxes_{i}"]
            classes[i, :count] = self.io[f"gt_labels_{i}"]
            masks[i, :count, :height, :width] = self.io[f"gt_masks_{i}"]
        return {"boxes": boxes, "classes": classes, "masks": masks}

    def pyramid(self):
        """The recorded maps."""
        return {f"P{i}": self.io[f"P{i}"] for i in range(2, 7)}


def unpack(bits, height, width):
    """Masks from rows of bits."""
    bits = np.unpackbits(bits, axis=1)[:, : height * width]
    return bits.reshape(-1, height, width).astype(bool)


def to_mmdet_layout(array, variable):
    """Lays an array of a variable out as mmdet does."""
    array = np.asarray(array)
    if "relative_position_bias_table" in variable.path or array.ndim < 2:
        return array
    if re.search(r"box_head(_\d)?/dense(_0)?/kernel", variable.path):
        inputs, outputs = array.shape
        array = array.reshape(7, 7, -1, outputs).transpose(3, 2, 0, 1)
        return array.reshape(outputs, inputs)
    if array.ndim == 2:
        return array.T
    depthwise = "/depthwise/" in variable.path
    return array.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
