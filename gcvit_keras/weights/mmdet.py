"""Loads mmdet's checkpoints of whole detectors into ours, strictly."""

import re

from gcvit_keras.weights.parts import load_parts, part_variables
from gcvit_keras.weights.porting import to_keras_layout

_RULES = (
    (r"/(kernel|gamma)$", ".weight"),
    (r"/(bias|beta)$", ".bias"),
    (r"/moving_mean$", ".running_mean"),
    (r"/moving_variance$", ".running_var"),
    (
        r"^neck/lateral_P(\d)",
        lambda m: f"neck.lateral_convs.{int(m[1]) - 2}.conv",
    ),
    (r"^neck/smooth_P(\d)", lambda m: f"neck.fpn_convs.{int(m[1]) - 2}.conv"),
    (r"^rpn_head/conv", "rpn_head.rpn_conv"),
    (r"^rpn_head/objectness", "rpn_head.rpn_cls"),
    (r"^rpn_head/deltas", "rpn_head.rpn_reg"),
    # The stages of a cascade have numbers.
    (r"^box_head_(\d)/", r"roi_head.bbox_head.\1."),
    (r"^box_head/", "roi_head.bbox_head."),
    (r"^mask_head_(\d)/", r"roi_head.mask_head.\1."),
    (r"^mask_head/", "roi_head.mask_head."),
    (r"(bbox_head.*)\.conv_(\d)", r"\1.shared_convs.\2.conv"),
    (r"(bbox_head.*)\.norm_(\d)", r"\1.shared_convs.\2.bn"),
    (r"(bbox_head.*)\.dense_(\d)", r"\1.shared_fcs.\2"),
    (r"(bbox_head.*)\.dense\b", r"\1.shared_fcs.0"),
    (r"(bbox_head.*)\.classifier", r"\1.fc_cls"),
    (r"(bbox_head.*)\.regressor", r"\1.fc_reg"),
    (r"(mask_head.*)\.conv_(\d)", r"\1.convs.\2.conv"),
    (r"(mask_head.*)\.classifier", r"\1.conv_logits"),
)
"""Mmdet's names of the parts' variables; see `part_variables`."""

_FLATTENED = re.compile(r"box_head(_\d)?/dense(_0)?/kernel")
"""Kernels of the layers that read a flattened region."""


def load_detector(model, weights):
    """Loads a checkpoint, in mmdet's naming or Keras's own, into a detector.

    It loads all of it or nothing; see `load_parts`.
    """
    load_parts(model, weights, detector_variables(model), _layout)


def detector_variables(model):
    """Lists a detector's variables by the keys of mmdet's checkpoints."""
    heads = (*model.box_heads, *model.mask_heads)
    return part_variables(
        model.backbone, (model.neck, model.rpn_head, *heads), _RULES
    )


def _layout(tensor, variable):
    """Gives a tensor in Keras's layout; see `to_keras_layout`."""
    if tensor.ndim == 2 and _FLATTENED.search(variable.path):
        # PyTorch flattens a region channel first, Keras channel last.
        outputs, inputs = tensor.shape
        channels = inputs // 49
        if 49 * channels == inputs:
            tensor = tensor.reshape(outputs, channels, 7, 7)
            return tensor.transpose(2, 3, 1, 0).reshape(inputs, outputs)
    return to_keras_layout(tensor, variable)
