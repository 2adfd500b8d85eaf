"""What mmdet calls each variable of our detectors.

The backbone's names are the official code's, behind `backbone.`.
"""

import re

from gcvit_keras.weights.names import checkpoint_key

FIRST_KEY = "backbone.patch_embed.proj.weight"
"""A key that every checkpoint of a detector has."""

_BACKBONE = "backbone/"

_LEVEL = {"P2": "0", "P3": "1", "P4": "2", "P5": "3"}

_RULES = (
    (r"/(kernel|gamma)$", ".weight"),
    (r"/(bias|beta)$", ".bias"),
    (r"/moving_mean$", ".running_mean"),
    (r"/moving_variance$", ".running_var"),
    (
        r"^neck/lateral_(P\d)",
        lambda m: f"neck.lateral_convs.{_LEVEL[m[1]]}.conv",
    ),
    (r"^neck/smooth_(P\d)", lambda m: f"neck.fpn_convs.{_LEVEL[m[1]]}.conv"),
    (r"^rpn_head/conv", "rpn_head.rpn_conv"),
    (r"^rpn_head/objectness", "rpn_head.rpn_cls"),
    (r"^rpn_head/deltas", "rpn_head.rpn_reg"),
    (r"^box_head(?:_(\d))?/", lambda m: _head("bbox_head", m[1])),
    (r"^mask_head(?:_(\d))?/", lambda m: _head("mask_head", m[1])),
    (r"(bbox_head.*)\.conv_(\d)", r"\1.shared_convs.\2.conv"),
    (r"(bbox_head.*)\.norm_(\d)", r"\1.shared_convs.\2.bn"),
    (r"(bbox_head.*)\.dense_(\d)", r"\1.shared_fcs.\2"),
    (r"(bbox_head.*)\.dense\b", r"\1.shared_fcs.0"),
    (r"(bbox_head.*)\.classifier", r"\1.fc_cls"),
    (r"(bbox_head.*)\.regressor", r"\1.fc_reg"),
    (r"(mask_head.*)\.conv_(\d)", r"\1.convs.\2.conv"),
    (r"(mask_head.*)\.classifier", r"\1.conv_logits"),
)


def _head(name, stage):
    return f"roi_head.{name}." + (f"{stage}." if stage else "")


def mmdet_key(path):
    """Names a variable of a detector as mmdet does.

    Args:
        path: The variable's path from the part of the detector on, such as
            `"neck/lateral_P2/kernel"`.

    Returns:
        The key, such as `"neck.lateral_convs.0.conv.weight"`.

    Examples:
    >>> from gcvit_keras.weights.names_mmdet import mmdet_key
    >>> mmdet_key("box_head_1/dense/kernel")
    'roi_head.bbox_head.1.shared_fcs.0.weight'
    """
    if path.startswith(_BACKBONE):
        path = path.removeprefix(_BACKBONE)
        return "backbone." + checkpoint_key(path, "official")
    for pattern, replacement in _RULES:
        path = re.sub(pattern, replacement, path)
    return path
