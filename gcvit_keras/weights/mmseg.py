"""Loads mmsegmentation's checkpoints into our segmenters, strictly."""

from gcvit_keras.weights.parts import load_parts, part_variables

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
    (r"/lateral_P(\d)", lambda m: f"/lateral_convs.{int(m[1]) - 2}"),
    (r"/smooth_P(\d)", lambda m: f"/fpn_convs.{int(m[1]) - 2}"),
    (r"/fusion", "/fpn_bottleneck"),
    (r"^auxiliary_head/conv\.", "auxiliary_head/convs.0."),
    (r"/", "."),
)
"""Mmsegmentation's names of the parts' variables; see `part_variables`."""


def load_segmenter(model, weights):
    """Loads a checkpoint, in mmsegmentation's naming or Keras's own, strictly.

    See `load_parts`. The auxiliary head, which takes part in training only, is
    left out where the model, a `UPerNet`, has none.
    """
    left_out = ["auxiliary_head"] if model.auxiliary_head is None else []
    load_parts(model, weights, segmenter_variables(model), left_out=left_out)


def segmenter_variables(model):
    """Lists a segmenter's variables by the keys of mmsegmentation."""
    parts = [model.decode_head, model.classifier, model.auxiliary_head]
    return part_variables(
        model.backbone, [part for part in parts if part], _RULES
    )
