"""Object detection and instance segmentation on GC ViT.

The operations (boxes, anchors, assignment, sampling, suppression, RoIAlign,
losses, masks) are functions of tensors with a fixed number of rows per image.
They share one convention, which `gcvit_keras.detection.boxes` states.
"""
