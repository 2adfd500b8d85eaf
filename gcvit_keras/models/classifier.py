"""GC ViT as functional models (arXiv 2206.09959, ICML 2023)."""

import numbers
import os
import re

import keras
import numpy as np

from gcvit_keras.layers import (
    Downsample,
    GCViTBlock,
    GlobalQueryGenerator,
    LayerNorm,
    Stem,
)
from gcvit_keras.layers.conv import linear_initializer
from gcvit_keras.models.preprocessing import normalization
from gcvit_keras.variants import VARIANTS
from gcvit_keras.weights import (
    PRESETS,
    Preset,
    find_preset,
    load_weights,
    prepare,
)

# How often each level's query generator halves its map: 56, 28, 14 and 7 end
# at the windows 7, 7, 14 and 7 at 224 x 224.
QUERY_POOLS = (3, 2, 0, 0)
DEFAULT_WINDOWS = (7, 7, 14, 7)


def GCViT(
    *,
    embed_dim,
    depths,
    num_heads,
    mlp_ratio,
    layer_scale=None,
    se_divisor=1,
    include_top=True,
    include_preprocessing=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit",
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT of any size, ending in a classifier or in features.

    Args:
        embed_dim: Channels of level 0; each later level doubles them.
        depths: Blocks of each of the four levels; even ones attend locally,
            odd ones with the level's global query.
        num_heads: Attention heads of each level.
        mlp_ratio: Hidden width of a block's MLP over the block's width.
        layer_scale: Initial value of the layer scales, `None` for none.
        se_divisor: Squeezed widths are rounded to multiples of this: 1 as in
            the official code, 8 as in timm. They differ only where a quarter
            of a width is no multiple of 8, so in no published variant.
        include_top: Whether to end in the classifier. Otherwise the model
            ends in the normalised last feature map, or in its `pooling`.
        include_preprocessing: Whether the model takes RGB pixels in
            [0, 255] and normalises inside. Inputs that do not have three
            channels pass through.
        weights: `None` for random ones; or, with a constructor of a variant,
            the name of one of its `PRESETS`, such as `"imagenet"` (with
            `GCViT`, a `Preset`), which is downloaded once; or the path of a
            checkpoint: `.safetensors`, `.pth` or `.pth.tar` in the naming of
            timm or of the official code, or Keras's `.weights.h5`. See
            `load_weights` for other classes, windows and input channels.
        input_tensor: Keras tensor `(batch, height, width, channels)` to
            build upon, in place of a new input.
        input_shape: `(height, width, channels)`; height and width may be
            `None`. Default: with the top the preset's resolution, else
            `(224, 224, 3)`; `(None, None, 3)` without the top.
        pooling: Without the top: `None`, `"avg"` or `"max"`. Not used with
            the top, as in `keras.applications`.
        classes: Number of classes of the classifier.
        classifier_activation: Activation of the classifier; `None` for
            logits.
        name: Name of the model.
        drop_path_rate: Stochastic depth rate of the last block, in [0, 1),
            growing linearly from 0 at the first. Default: the variant's own,
            0 for `GCViT`.
        window_size: Sides of the windows of the four levels. `None`: a 32nd,
            a 32nd, a 16th and a 32nd of a square input whose side 32 divides
            (7, 7, 14, 7 at 224), else the preset's, else 7, 7, 14, 7.
            Feature maps that windows do not divide are padded.

    Returns:
        A functional `keras.Model` of the layers `stem`; for each level i
        `level_i_query` (not where there is one block only),
        `level_i_block_0` and on, and, but for the last, `level_i_downsample`;
        then `norm`, `pool` and `predictions`.

    Raises:
        ValueError: For an argument out of range, or a checkpoint that does
            not fit this model.
        DownloadError: If a preset cannot be downloaded.
    """
    embed_dim = _positive_integer("embed_dim", embed_dim)
    classes = _positive_integer("classes", classes)
    depths = _one_a_level("depths", depths)
    num_heads = _one_a_level("num_heads", num_heads)
    _check_arguments(
        embed_dim,
        num_heads,
        mlp_ratio,
        pooling,
        drop_path_rate,
        classifier_activation,
    )
    preset = weights if isinstance(weights, Preset) else None
    inputs = _input(input_tensor, input_shape, include_top, preset)
    windows = _windows(window_size, inputs.shape[1:3], preset)
    if weights is not None:
        prepare(weights)
    drop_paths = np.linspace(0.0, drop_path_rate or 0.0, sum(depths)).tolist()

    x = inputs
    if include_preprocessing and x.shape[-1] == 3:
        x = normalization("preprocessing")(x)
    x = Stem(embed_dim, se_divisor, name="stem")(x)
    for level, depth in enumerate(depths):
        query = None
        if depth > 1:  # a single block is local and asks for none
            query = GlobalQueryGenerator(
                windows[level],
                QUERY_POOLS[level],
                se_divisor,
                name=f"level_{level}_query",
            )(x)
        for j in range(depth):
            is_global = j % 2 == 1
            block = GCViTBlock(
                num_heads[level],
                windows[level],
                global_query=is_global,
                mlp_ratio=mlp_ratio,
                layer_scale=layer_scale,
                drop_path_rate=drop_paths.pop(0),
                name=f"level_{level}_block_{j}",
            )
            x = block(x, query) if is_global else block(x)
        if level < len(depths) - 1:
            x = Downsample(
                2 * x.shape[-1], se_divisor, name=f"level_{level}_downsample"
            )(x)

    x = LayerNorm(name="norm")(x)
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    if include_top:
        x = keras.layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=linear_initializer(),
            dtype=_head_dtype(),
            name="predictions",
        )(x)
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def _constructor(variant):
    """The `keras.applications`-style constructor of a published variant."""
    # xxtiny: GCViTXXTiny.
    short = re.sub("^x*.", lambda start: start[0].upper(), variant.name)

    def build(
        include_top=True,
        include_preprocessing=True,
        weights="imagenet",
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=f"gcvit_{variant.name}",
        *,
        drop_path_rate=None,
        window_size=None,
    ) -> keras.Model:
        if drop_path_rate is None:
            drop_path_rate = variant.drop_path_rate
        weights = _named(variant.name, weights)
        return GCViT(
            embed_dim=variant.embed_dim,
            depths=variant.depths,
            num_heads=variant.num_heads,
            mlp_ratio=variant.mlp_ratio,
            layer_scale=variant.layer_scale,
            include_top=include_top,
            include_preprocessing=include_preprocessing,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
            drop_path_rate=drop_path_rate,
            window_size=window_size,
        )

    # python -OO strips docstrings; the constructors still have to work.
    arguments = (GCViT.__doc__ or "").partition("        include_top:")
    build.__name__ = build.__qualname__ = f"GCViT{short}"
    build.__doc__ = (
        f"GC ViT {variant.name}: {variant.parameters / 1e6:.1f} M parameters, "
        f"{variant.top1}% published top-1.\n\n    Args:\n"
        + arguments[1]
        + arguments[2]
    )
    return build


CONSTRUCTORS = {name: _constructor(v) for name, v in VARIANTS.items()}

GCViTXXTiny = CONSTRUCTORS["xxtiny"]
GCViTXTiny = CONSTRUCTORS["xtiny"]
GCViTTiny = CONSTRUCTORS["tiny"]
GCViTTiny2 = CONSTRUCTORS["tiny2"]
GCViTSmall = CONSTRUCTORS["small"]
GCViTSmall2 = CONSTRUCTORS["small2"]
GCViTBase = CONSTRUCTORS["base"]
GCViTLarge = CONSTRUCTORS["large"]


def feature_pyramid(model: keras.Model) -> keras.Model:
    """The four feature maps of a GC ViT, for detection and segmentation.

    Args:
        model: A model of this library, with or without the top.

    Returns:
        A functional `keras.Model` that shares `model`'s layers and weights,
        with outputs `{"P2", "P3", "P4", "P5"}`: the last block of each level,
        before downsampling and without the final norm, at strides 4, 8, 16
        and 32, of widths `embed_dim` times 1, 2, 4 and 8.

    Raises:
        ValueError: If `model` does not have the four levels.
    """
    last_blocks = {}
    for layer in model.layers:
        match = re.fullmatch(r"level_(\d)_block_\d+", layer.name)
        if match:  # layers come in order, so a level's last one stays
            last_blocks[f"P{int(match[1]) + 2}"] = layer.output
    if sorted(last_blocks) != ["P2", "P3", "P4", "P5"]:
        raise ValueError(
            "`model` must be a GC ViT of this library, with layers "
            "level_0_block_0 to level_3_block_N. "
            f"Received: model={model.name!r} with levels of "
            f"{sorted(last_blocks) or 'none'}"
        )
    return keras.Model(model.input, last_blocks, name=f"{model.name}_pyramid")


def _named(variant, weights):
    """The preset that `weights` names, else `weights` if it may be a file."""
    if isinstance(weights, Preset) and weights.variant != variant:
        raise ValueError(
            f"`weights` must be a preset of GC ViT {variant}. Received one of "
            f"{weights.variant}: {weights.file}"
        )
    if not isinstance(weights, str):
        return weights
    preset = find_preset(variant, weights)
    # What has no suffix was meant as a name.
    if preset is None and not os.path.splitext(weights)[1]:
        names = sorted({p.name for p in PRESETS if p.variant == variant})
        if names:  # what the default is, in any case
            names = ["imagenet", *(n for n in names if n != "imagenet")]
        raise ValueError(
            f"`weights` must be None, one of {names} for GC ViT {variant}, or "
            "the path of a .safetensors, .pth, .pth.tar or .weights.h5 file. "
            f"Received: weights={weights!r}"
        )
    return preset or weights


def _check_arguments(
    embed_dim,
    num_heads,
    mlp_ratio,
    pooling,
    drop_path_rate,
    classifier_activation,
):
    for level, heads in enumerate(num_heads):
        if embed_dim * 2**level % heads:
            raise ValueError(
                f"`num_heads` must divide the width of each level. Level "
                f"{level} has width {embed_dim * 2**level}. "
                f"Received: num_heads={num_heads}"
            )
    if not isinstance(mlp_ratio, numbers.Real) or not mlp_ratio > 0:
        raise ValueError(
            "`mlp_ratio` must be a positive number. "
            f"Received: mlp_ratio={mlp_ratio!r}"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(
            '`pooling` must be None, "avg" or "max". '
            f"Received: pooling={pooling!r}"
        )
    if drop_path_rate is not None and not (
        isinstance(drop_path_rate, numbers.Real) and 0 <= drop_path_rate < 1
    ):
        raise ValueError(
            "`drop_path_rate` must be None or a number in [0, 1). "
            f"Received: drop_path_rate={drop_path_rate!r}"
        )
    try:
        keras.activations.get(classifier_activation)
    except ValueError:
        raise ValueError(
            "`classifier_activation` must be None, a name that Keras knows "
            "or a callable. "
            f"Received: classifier_activation={classifier_activation!r}"
        ) from None


def _positive_integer(argument, value):
    """The value as Python's integer: classes=labels.max() + 1 is numpy's."""
    if (
        not isinstance(value, (int, np.integer))
        or isinstance(value, bool)
        or value < 1
    ):
        raise ValueError(
            f"`{argument}` must be a positive integer. "
            f"Received: {argument}={value!r}"
        )
    return int(value)


def _one_a_level(argument, values):
    """Four positive integers as a tuple of Python's."""
    try:
        integers = tuple(_positive_integer(argument, v) for v in values)
        _, _, _, _ = integers
        return integers
    except (TypeError, ValueError):
        raise ValueError(
            f"`{argument}` must be four positive integers, one a level. "
            f"Received: {argument}={values!r}"
        ) from None


def _input(input_tensor, input_shape, include_top, preset):
    """The tensor to build upon, its shape checked."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "GC ViT takes channels_last images only. Call "
            '`keras.config.set_image_data_format("channels_last")` first.'
        )
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, as `keras.Input` or "
                "a layer call returns. "
                f"Received: input_tensor of type {type(input_tensor)}"
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise ValueError(
                f"`input_shape` must be that of `input_tensor`, {shape}, or "
                f"None. Received: input_shape={tuple(input_shape)}"
            )
        input_shape = shape
    elif input_shape is None:
        side = preset.resolution if preset else 224
        input_shape = (side, side, 3) if include_top else (None, None, 3)
    try:
        height, width, channels = (
            size if size is None else _positive_integer("input_shape", size)
            for size in input_shape
        )
        input_shape = (height, width, int(channels))
    except (TypeError, ValueError):
        raise ValueError(
            "`input_shape` must be (height, width, channels), positive "
            "integers; height and width may be None. "
            f"Received: input_shape={input_shape!r}"
        ) from None
    if input_tensor is None:
        return keras.Input(input_shape, name="images")
    return input_tensor


def _windows(window_size, image_size, preset):
    """The window of each level, as the docstring of `GCViT` says."""
    if window_size is None:
        height, width = image_size
        if height is None or height != width or height % 32:
            return preset.window_size if preset else DEFAULT_WINDOWS
        return (height // 32, height // 32, height // 16, height // 32)
    return _one_a_level("window_size", window_size)


def _head_dtype():
    """Scores stay float32 under mixed precision, as Keras's guide asks."""
    policy = keras.config.dtype_policy()
    return policy.variable_dtype if "mixed" in policy.name else policy
