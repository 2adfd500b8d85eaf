"""Object detection and instance segmentation on GC ViT.

The operations (boxes, anchors, assignment, sampling, suppression, RoIAlign,
losses, masks) are functions of tensors with a fixed number of rows per image.
They share one convention, which `gcvit_keras.detection.boxes` states.
"""

from gcvit_keras.detection.box_head import BoxHead, ConvBoxHead
from gcvit_keras.detection.draw import draw_detections
from gcvit_keras.detection.fpn import FeaturePyramid
from gcvit_keras.detection.mask_head import MaskHead
from gcvit_keras.detection.mask_rcnn import CascadeMaskRCNN, MaskRCNN
from gcvit_keras.detection.reader import DetectionReader
from gcvit_keras.detection.rpn import RPNHead

__all__ = [
    "BoxHead",
    "CascadeMaskRCNN",
    "ConvBoxHead",
    "DetectionReader",
    "FeaturePyramid",
    "MaskHead",
    "MaskRCNN",
    "RPNHead",
    "draw_detections",
]
