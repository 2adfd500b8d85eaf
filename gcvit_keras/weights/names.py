"""What timm and the official code call each variable of our models.

A third scheme, `"keras"`, is that of our own cache: the variables' paths.
"""

import re

LAYER = re.compile(
    r"stem|level_\d+_(query|block_\d+|downsample|norm)|norm|predictions"
)
"""Names of the layers whose variables a checkpoint holds."""

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
        (r"^level_0_downsample", "stages.1.downsample"),
        (r"^level_1_downsample", "stages.2.downsample"),
        (r"^level_2_downsample", "stages.3.downsample"),
        (r"^norm", "stages.3.norm"),
        (r"^predictions", "head.fc"),
        (r"/fused_mbconv_0", ".conv1"),
        (r"/fused_mbconv_1", ".conv2"),
        (r"/fused_mbconv_2", ".conv3"),
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
    """Which naming scheme a checkpoint's keys follow.

    Args:
        keys: The names of its tensors.

    Returns:
        `"official"`, `"timm"` or `"keras"`.

    Raises:
        ValueError: If the keys follow none.
    """
    for scheme, first in (
        ("keras", "stem/conv/kernel"),
        ("official", "patch_embed.proj.weight"),
        ("timm", "stem.conv1.weight"),
    ):
        if first in keys:
            return scheme
    raise ValueError(
        "is no GC ViT checkpoint: it has neither `patch_embed.proj.weight` "
        "(official naming) nor `stem.conv1.weight` (timm's). Its first keys: "
        f"{sorted(keys)[:3]}"
    )


def architecture(shapes, scheme):
    """What a checkpoint's names and shapes say about its model.

    Args:
        shapes: Dict of key to shape.
        scheme: `"official"`, `"timm"` or `"keras"`.

    Returns:
        Dict of `embed_dim`, `depths`, `mlp_ratio`, `layer_scale` (whether
        there is one), `classes` and `window_size`.

    Raises:
        ValueError: If the tensors that tell are not there.
    """

    def shape(path):
        key = checkpoint_key(path, scheme)
        if key not in shapes:
            raise ValueError(f"has no tensor {key}")
        return shapes[key]

    def has(path):
        return checkpoint_key(path, scheme) in shapes

    depths, windows = [], []
    for level in range(4):
        block = f"level_{level}_block_"
        depth = 0
        while has(f"{block}{depth}/norm1/gamma"):
            depth += 1
        depths.append(depth)
        rows, _ = shape(f"{block}0/attention/relative_position_bias_table")
        windows.append((round(rows**0.5) + 1) // 2)
    out = -1 if scheme == "keras" else 0  # where a kernel's outputs are
    embed_dim = shape("stem/conv/kernel")[out]
    return {
        "embed_dim": embed_dim,
        "depths": tuple(depths),
        "mlp_ratio": shape("level_0_block_0/mlp_expand/kernel")[out]
        / embed_dim,
        "layer_scale": has("level_0_block_0/scale1/gamma"),
        "classes": shape("predictions/kernel")[out],
        "window_size": tuple(windows),
    }


def checkpoint_key(path, scheme):
    """Name of a variable in a checkpoint.

    Args:
        path: The variable's path from its model's layer on, such as
            `"level_0_block_1/attention/qkv/kernel"`.
        scheme: `"official"`, `"timm"` or `"keras"`.

    Returns:
        The key, such as `"levels.0.blocks.1.attn.qkv.weight"`.
    """
    if scheme == "keras":
        return path
    for pattern, replacement in (*_LEAVES, *_SCHEMES[scheme], *_COMMON):
        path = re.sub(pattern, replacement, path)
    return path
