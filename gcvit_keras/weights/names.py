"""Names that timm and the official code give to the variables of our models."""

import re

LAYER = re.compile(
    r"stem|level_\d+_(query|block_\d+|downsample|norm)|norm|predictions"
)
"""Names of the layers whose variables a checkpoint holds."""

HEAD = ("predictions/kernel", "predictions/bias")
FINAL_NORM = ("norm/gamma", "norm/beta")
LEVEL_NORMS = tuple(
    f"level_{level}_norm/{name}"
    for level in range(4)
    for name in ("gamma", "beta")
)
STEM_KERNEL = "stem/conv/kernel"
"""Paths, within a model, of variables that a checkpoint may lack or shape
otherwise: the classifier, norms that only some models have, and the stem."""

FIRST_KEYS = {
    "official": "patch_embed.proj.weight",
    "timm": "stem.conv1.weight",
}
"""Per naming scheme a key that every checkpoint of it has."""

_LEAVES = (
    (r"/kernel$", ".weight"),
    (r"/bias$", ".bias"),
    (r"/beta$", ".bias"),
    (r"/scale([12])/gamma$", r"/scale\1"),
    (r"/gamma$", ".weight"),
)

_SCHEMES = {
    "official": (
        (r"^stem/conv", "patch_embed.proj"),
        (r"^stem/downsample", "patch_embed.conv_down"),
        (r"^level_(\d)_query", r"levels.\1.q_global_gen.to_q_global"),
        (r"^level_(\d)_block_(\d+)", r"levels.\1.blocks.\2"),
        (r"^level_(\d)_downsample", r"levels.\1.downsample"),
        # The detection backbone has one on each level's output.
        (r"^level_(\d)_norm", r"norm\1"),
        (r"^predictions", "head"),
        (r"/fused_mbconv_(\d)", r".\1.conv"),
        (r"/fused_mbconv", ".conv"),
        (r"/depthwise", ".0"),
        (r"/squeeze_excite/reduce", ".2.fc.0"),
        (r"/squeeze_excite/expand", ".2.fc.2"),
        (r"/pointwise", ".3"),
        (r"/attention/", ".attn."),
        (r"/scale([12])$", r".gamma\1"),
    ),
    "timm": (
        (r"^stem/conv", "stem.conv1"),
        (r"^stem/downsample", "stem.down"),
        (r"^level_(\d)_query", r"stages.\1.global_block.blocks"),
        (r"^level_(\d)_block_(\d+)", r"stages.\1.blocks.\2"),
        # timm downsamples at the start of the next stage.
        (
            r"^level_(\d)_downsample",
            lambda m: f"stages.{int(m[1]) + 1}.downsample",
        ),
        (r"^norm", "stages.3.norm"),
        (r"^predictions", "head.fc"),
        (r"/fused_mbconv_(\d)", lambda m: f".conv{int(m[1]) + 1}"),
        (r"/fused_mbconv", ".conv_block"),
        (r"/depthwise", ".conv_dw"),
        (r"/squeeze_excite/reduce", ".se.fc1"),
        (r"/squeeze_excite/expand", ".se.fc2"),
        (r"/pointwise", ".conv_pw"),
        (r"/attention/relative", ".attn.rel_pos.relative"),
        (r"/attention/", ".attn."),
        (r"/scale([12])$", r".ls\1.gamma"),
    ),
}

_COMMON = (
    (r"/mlp_expand", ".mlp.fc1"),
    (r"/mlp_project", ".mlp.fc2"),
    (r"/", "."),
)


def detect_scheme(keys):
    """Tells the naming scheme of a checkpoint's keys: "official" or "timm".

    Raises a `ValueError` if the keys follow neither.
    """
    for scheme, first in FIRST_KEYS.items():
        if first in keys:
            return scheme
    raise ValueError(f"has none of the keys {list(FIRST_KEYS.values())}")


def architecture(shapes, scheme):
    """Tells a checkpoint's model by its dict of key to shape.

    Returns what `describe_checkpoint` does, or raises a `ValueError` if the
    tensors that tell are not there.
    """

    def has(path):
        return checkpoint_key(path, scheme) in shapes

    def outputs(path):
        if not has(path):
            raise ValueError(f"has no tensor {checkpoint_key(path, scheme)}")
        return shapes[checkpoint_key(path, scheme)][0]

    depths, windows = [], []
    for level in range(4):
        block = f"level_{level}_block_"
        depth = 0
        while has(f"{block}{depth}/norm1/gamma"):
            depth += 1
        depths.append(depth)
        rows = outputs(f"{block}0/attention/relative_position_bias_table")
        windows.append((round(rows**0.5) + 1) // 2)
    embed_dim = outputs("stem/conv/kernel")
    head = "predictions/kernel"
    return {
        "embed_dim": embed_dim,
        "depths": tuple(depths),
        "mlp_ratio": outputs("level_0_block_0/mlp_expand/kernel") / embed_dim,
        "layer_scale": has("level_0_block_0/scale1/gamma"),
        "classes": outputs(head) if has(head) else None,
        "window_size": tuple(windows),
    }


def checkpoint_key(path, scheme):
    """Gives the name of a variable in a checkpoint.

    Args:
        path: The variable's path from its model's layer on, such as
            `"level_0_block_1/attention/qkv/kernel"`.
        scheme: `"official"` or `"timm"`.

    Returns:
        The key, such as `"levels.0.blocks.1.attn.qkv.weight"`.

    Examples:
    >>> from gcvit_keras.weights.names import checkpoint_key
    >>> checkpoint_key("level_0_block_1/norm1/gamma", "timm")
    'stages.0.blocks.1.norm1.weight'
    """
    for pattern, replacement in (*_LEAVES, *_SCHEMES[scheme], *_COMMON):
        path = re.sub(pattern, replacement, path)
    return path
