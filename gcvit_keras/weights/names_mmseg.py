"""What mmsegmentation calls each variable of our UPerNet.

The backbone's names are the official code's, behind `backbone.`.
"""

import re

from gcvit_keras.weights.names import checkpoint_key

AUXILIARY = "auxiliary_head."
"""Begin of the keys of the head that takes part in training only."""
_BACKBONE = "backbone/"
_LEVEL = {"P2": "0", "P3": "1", "P4": "2"}
_RULES = (
    (r"/norm/gamma$", ".bn.weight"),
    (r"/norm/beta$", ".bn.bias"),
    (r"/norm/moving_mean$", ".bn.running_mean"),
    (r"/norm/moving_variance$", ".bn.running_var"),
    (r"classifier/kernel$", "conv_seg.weight"),
    (r"classifier/bias$", "conv_seg.bias"),
    (r"/kernel$", ".conv.weight"),
    (r"^conv_seg", "decode_head.conv_seg"),
    (r"/pyramid_pooling/branch_(\d)", r"/psp_modules.\1.1"),
    (r"/pyramid_pooling/", "/"),
    (r"/lateral_(P\d)", lambda m: f"/lateral_convs.{_LEVEL[m[1]]}"),
    (r"/smooth_(P\d)", lambda m: f"/fpn_convs.{_LEVEL[m[1]]}"),
    (r"/fusion", "/fpn_bottleneck"),
    (r"^auxiliary_head/conv\.", "auxiliary_head/convs.0."),
    (r"/", "."),
)


def mmseg_key(path):
    """Names a variable of a segmenter as mmsegmentation does.

    Args:
        path: The variable's path from the part of the model on, such as
            `"decode_head/lateral_P2/kernel"`.

    Returns:
        The key, such as `"decode_head.lateral_convs.0.conv.weight"`.

    Examples:
    >>> from gcvit_keras.weights.names_mmseg import mmseg_key
    >>> mmseg_key("decode_head/fusion/norm/gamma")
    'decode_head.fpn_bottleneck.bn.weight'
    """
    if path.startswith(_BACKBONE):
        path = path.removeprefix(_BACKBONE)
        return "backbone." + checkpoint_key(path, "official")
    for pattern, replacement in _RULES:
        path = re.sub(pattern, replacement, path)
    return path
