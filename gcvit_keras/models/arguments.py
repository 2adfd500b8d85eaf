"""Checks of the arguments that the models share."""

import collections.abc
import os

import keras

from gcvit_keras import checks
from gcvit_keras.weights import PRESETS, Preset, find_preset

DEFAULT_WINDOWS = (7, 7, 14, 7)
WINDOW_RATIOS = (32, 32, 16, 32)
"""Sides of the image over those of each level's windows, as timm has them."""
CHANNELS = (1, 3, 4)
"""Channel counts that tell channels first from last."""


def per_level(argument, values, least=1) -> tuple[int, int, int, int]:
    """Checks four integers of at least `least`, 0 or 1, one per level.

    Returns a tuple, or raises a `ValueError`.
    """
    try:
        integers = tuple(checks.integer(argument, v, least) for v in values)
        _, _, _, _ = integers
        return integers
    except (TypeError, ValueError):
        kind = "positive" if least else "non-negative"
        accepted = f"four {kind} integers, one per level"
        raise checks.error(argument, accepted, values) from None


def architecture(
    *,
    embed_dim,
    depths,
    num_heads,
    mlp_ratio,
    layer_scale,
    drop_path_rate,
    se_divisor,
):
    """Checks the sizes of a GC ViT, arguments of `GCViT`.

    Returns a dict of them, as Python's own numbers and tuples, or raises a
    `ValueError`.
    """
    embed_dim = checks.integer("embed_dim", embed_dim)
    num_heads = per_level("num_heads", num_heads)
    for level, heads in enumerate(num_heads):
        width = embed_dim * 2**level
        if width % heads:
            accepted = f"divisors of the widths; level {level} has {width}"
            raise checks.error("num_heads", accepted, num_heads)
    if layer_scale is not None:
        accepted = "None or a finite number"
        layer_scale = checks.number(
            "layer_scale", layer_scale, accepted, lambda _: True
        )
    return {
        "embed_dim": embed_dim,
        "depths": per_level("depths", depths),
        "num_heads": num_heads,
        "mlp_ratio": checks.number(
            "mlp_ratio", mlp_ratio, "a positive number", lambda x: x > 0
        ),
        "drop_path_rate": checks.number(
            "drop_path_rate",
            0.0 if drop_path_rate is None else drop_path_rate,
            "None or a number in [0, 1)",
            lambda x: 0 <= x < 1,
        ),
        "layer_scale": layer_scale,
        "se_divisor": checks.integer("se_divisor", se_divisor),
    }


def image_input(input_tensor, input_shape, default_shape):
    """Makes the Keras tensor of images that a model is built upon.

    That is `input_tensor`, or a new input of `input_shape`, by default
    `default_shape`. Raises a `ValueError` if the shape is no image's,
    `(height, width, channels)`, or channels come first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "GC ViT takes channels_last images only. Call "
            '`keras.config.set_image_data_format("channels_last")` first.'
        )
    argument, received = "input_shape", input_shape
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, as `keras.Input` or "
                "a layer call returns. "
                f"Received: input_tensor of type {type(input_tensor)}"
            )
        shape = tuple(input_tensor.shape[1:])
        is_iterable = isinstance(input_shape, collections.abc.Iterable)
        if input_shape is not None and (
            not is_iterable or tuple(input_shape) != shape
        ):
            accepted = f"that of `input_tensor`, {shape}, or None"
            raise checks.error("input_shape", accepted, input_shape)
        argument, received, input_shape = "input_tensor", input_tensor, shape
    elif input_shape is None:
        input_shape = default_shape
    try:
        height, width, channels = (
            size if size is None else checks.integer("input_shape", size)
            for size in input_shape
        )
        checks.integer("input_shape", channels)
    except (TypeError, ValueError):
        accepted = (
            "(height, width, channels), positive integers; height and width "
            "may be None"
        )
        if input_tensor is not None:
            accepted = f"a batch of images, each {accepted}"
        raise checks.error(argument, accepted, received) from None
    if height in CHANNELS and channels not in CHANNELS:
        accepted = "(height, width, channels), the channels last"
        raise checks.error(argument, accepted, received)
    if input_tensor is None:
        return keras.Input((height, width, channels), name="images")
    return input_tensor


def source(images):
    """Finds the input of a model that is built upon a tensor.

    That is the input that `images`, from `image_input`, is computed from, or a
    list where there are several; `images` itself where it is an input.
    """
    inputs = keras.utils.get_source_inputs(images)
    return inputs[0] if len(inputs) == 1 else inputs


def windows(window_size, image_size, preset):
    """Finds the window of each level, as the docstring of `GCViT` says.

    It depends on the argument `window_size`, on the `(height, width)` of the
    input, each of which may be `None`, and on the `Preset` that is loaded, if
    any. Returns four `(height, width)`, or raises a `ValueError`.
    """
    if window_size is None and None not in image_size:
        height, width = image_size
        if height % 32 == width % 32 == 0:
            return tuple(
                (height // ratio, width // ratio) for ratio in WINDOW_RATIOS
            )
    if window_size is None:
        window_size = preset.window_size if preset else DEFAULT_WINDOWS
    try:
        first, second, third, fourth = (
            checks.sides("window_size", window) for window in window_size
        )
    except (TypeError, ValueError):
        accepted = "four windows, each a positive integer or (height, width)"
        raise checks.error("window_size", accepted, window_size) from None
    return first, second, third, fourth


def named_weights(variant, weights):
    """Finds the preset of a variant that `weights` of `GCViT` names.

    Returns a `Preset`, or `weights` where it may be a file or is `None`. Raises
    a `ValueError` if it is a preset of another variant, or no name of one and
    no name of a file.
    """
    if isinstance(weights, Preset) and weights.variant != variant:
        raise ValueError(
            f"`weights` must be a preset of GC ViT {variant}. Received one of "
            f"{weights.variant}: {weights.file}"
        )
    if not isinstance(weights, str):
        return weights
    preset = find_preset(variant, weights)
    # Without a suffix, and no file, it was meant as a name.
    is_path = os.path.splitext(weights)[1] or os.path.isfile(weights)
    if preset is None and not is_path:
        names = sorted({p.name for p in PRESETS if p.variant == variant})
        if names:  # what the default is, in any case
            names = ["imagenet", *(n for n in names if n != "imagenet")]
        accepted = (
            f"None, one of {names} for GC ViT {variant}, or the path of a "
            ".safetensors, .pth, .pth.tar or .weights.h5 file"
        )
        raise checks.error("weights", accepted, weights)
    return preset or weights
