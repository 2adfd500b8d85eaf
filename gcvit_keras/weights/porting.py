"""Strict porting of PyTorch checkpoints onto a Keras model's variables."""

import os

import numpy as np

from gcvit_keras.weights.checkpoint import read_checkpoint
from gcvit_keras.weights.names import (
    LAYER,
    architecture,
    checkpoint_key,
    detect_scheme,
)


def load_weights(model, weights):
    """Loads a checkpoint into a GC ViT, all of it or nothing.

    Args:
        model: A model of this library. Layers of other names, such as those
            before an `input_tensor`, are left alone.
        weights: Path of a `.safetensors` file in the naming of timm or of
            the official code, or of a `.weights.h5` that Keras wrote.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few or of another shape; the message lists them and the model is
            as before.
    """
    path = os.fspath(weights)
    if path.endswith(".weights.h5"):
        model.load_weights(path)
        return
    if not path.endswith(".safetensors"):
        raise ValueError(
            "`weights` must be None or the path of a .safetensors or "
            f".weights.h5 file. Received: weights={path!r}"
        )
    port(model, read_checkpoint(path), source=path)


def describe_checkpoint(path):
    """What model a checkpoint is of, from its names and shapes.

    Args:
        path: Path of a `.safetensors` file.

    Returns:
        Dict of `embed_dim`, `depths`, `mlp_ratio`, `layer_scale` (whether
        there is one), `classes` and `window_size`.

    Raises:
        ValueError: If the file cannot be read or is no GC ViT checkpoint.
    """
    tensors = read_checkpoint(path)
    try:
        return architecture(tensors, detect_scheme(tensors))
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def port(model, tensors, source="the checkpoint"):
    """Assigns tensors in PyTorch's names and layouts to a GC ViT.

    Args:
        model: See `load_weights`.
        tensors: Dict of key to numpy array. The classifier's may be there
            for a model without the top, and is then not used.
        source: What to call the tensors in an error.

    Raises:
        ValueError: As `load_weights`.
    """
    try:
        scheme = detect_scheme(tensors)
    except ValueError as error:
        raise ValueError(f"{source} {error}") from None
    variables = checkpoint_variables(model, scheme)
    head = checkpoint_key("predictions/", scheme)
    has_head = any(key.startswith(head) for key in variables)
    missing = [key for key in variables if key not in tensors]
    unexpected = [
        key
        for key in tensors
        if key not in variables
        and not (key.startswith(head) and not has_head)
        # A buffer of the official code, derived from the window size.
        and _table_of_index(key) not in variables
    ]
    arrays, mismatched = {}, []
    for key, variable in variables.items():
        if key in missing:
            continue
        arrays[key] = to_keras_layout(tensors[key], variable)
        if arrays[key].shape != tuple(variable.shape):
            mismatched.append(
                f"{key}: {tensors[key].shape} in the file, "
                f"{variable.path} has {tuple(variable.shape)}"
            )
    problems = (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", mismatched),
    )
    if any(keys for _, keys in problems):
        counts = ", ".join(f"{len(keys)} {what}" for what, keys in problems)
        lines = [
            f"{source} ({scheme} naming) does not fit model "
            f"{model.name!r}: tensors {counts}. Nothing was loaded."
        ]
        for what, keys in problems:
            lines += [f"  {what}: {key}" for key in keys]
        raise ValueError("\n".join(lines))
    for key, variable in variables.items():
        variable.assign(arrays[key])


def checkpoint_variables(model, scheme):
    """The variables that a checkpoint of this model holds, by its keys.

    Args:
        model: A model of this library.
        scheme: `"official"` or `"timm"`.

    Returns:
        Dict of checkpoint key to Keras variable.
    """
    return {
        checkpoint_key(variable.path, scheme): variable
        for layer in model.layers
        if LAYER.fullmatch(layer.name)
        for variable in layer.trainable_variables
        + layer.non_trainable_variables
        if "seed_generator" not in variable.path
    }


def to_keras_layout(tensor, variable):
    """A PyTorch tensor in the layout of the Keras variable it belongs to.

    Args:
        tensor: Array of a convolution (out, in, height, width), a depthwise
            one (channels, 1, height, width), a dense layer (out, in), also
            as a 1 x 1 convolution, or a vector.
        variable: Keras variable.

    Returns:
        View of the array; its shape is the variable's where they fit.
    """
    rank = len(variable.shape)
    if tensor.ndim == 4 and rank == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if "relative_position_bias_table" in variable.path:
        return tensor
    if tensor.ndim == 4 and "/depthwise/" in variable.path:
        return np.transpose(tensor, (2, 3, 0, 1))
    if tensor.ndim == 4:
        return np.transpose(tensor, (2, 3, 1, 0))
    return tensor.T if tensor.ndim == 2 else tensor


def _table_of_index(key):
    return key.replace(
        "relative_position_index", "relative_position_bias_table"
    )
