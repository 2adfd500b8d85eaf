"""Strict porting of PyTorch checkpoints onto a Keras model's variables."""

import os
import tempfile

import h5py
import keras
import numpy as np

from gcvit_keras.weights.checkpoint import read_checkpoint, read_shapes
from gcvit_keras.weights.names import (
    LAYER,
    architecture,
    checkpoint_key,
    detect_scheme,
)

CHECKPOINTS = (".safetensors", ".pth", ".pth.tar")
"""Suffixes of files in PyTorch's names and layouts."""


def check_source(weights):
    """Refuses what `load_weights` cannot load, before a model is built.

    Args:
        weights: See `load_weights`.

    Raises:
        ValueError: If it is no file, or of another suffix.
    """
    path = os.fspath(weights) if _is_path(weights) else ""
    if not path.endswith((*CHECKPOINTS, ".weights.h5")):
        raise ValueError(
            "`weights` must be None or the path of a .safetensors, .pth, "
            ".pth.tar or .weights.h5 file; downloading by name is not there "
            "yet. "
            f"Received: weights={weights!r}"
        )
    if not os.path.isfile(path):
        raise ValueError(f"`weights` is no file. Received: weights={path!r}")


def _is_path(value):
    return isinstance(value, (str, os.PathLike))


def load_weights(model: keras.Model, weights) -> None:
    """Loads a checkpoint into a GC ViT, all of it or nothing.

    Args:
        model: A model of this library. Layers of other names, such as those
            before an `input_tensor`, are left alone by a PyTorch checkpoint;
            a `.weights.h5` is of the whole model.
        weights: Path of a `.safetensors`, `.pth` or `.pth.tar` file in the
            naming of timm or of the official code, or of a `.weights.h5`
            that Keras wrote. PyTorch is not needed.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few or of another shape; the message lists them and the model is
            as before.
    """
    check_source(weights)
    path = os.fspath(weights)
    if path.endswith(CHECKPOINTS):
        port(model, read_checkpoint(path), source=path)
        return
    try:
        found = _h5_shapes(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    # Keras loads what fits, says nothing of what is too many, and raises
    # after the fact. What it would write itself is what has to be there.
    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "own.weights.h5")
        model.save_weights(own)
        expected = _h5_shapes(own)
    _refuse_differences(
        f"{path} does not fit model {model.name!r}",
        missing=[k for k in expected if k not in found],
        unexpected=[
            key
            for key in found
            # Drop path's random state, no weight: a model trained with it
            # may be loaded without.
            if key not in expected and "/seed_generator/" not in key
        ],
        mismatched=[
            f"{k}: {found[k]} in the file, {shape} in the model"
            for k, shape in expected.items()
            if k in found and found[k] != shape
        ],
    )
    model.load_weights(path)


def _h5_shapes(path):
    shapes = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return shapes


def describe_checkpoint(path):
    """What model a checkpoint is of, from its names and shapes.

    Args:
        path: Path of a `.safetensors`, `.pth` or `.pth.tar` file.

    Returns:
        Dict of `embed_dim`, `depths`, `mlp_ratio`, `layer_scale` (whether
        there is one), `classes` and `window_size`.

    Raises:
        ValueError: If the file cannot be read or is no GC ViT checkpoint.
    """
    shapes = read_shapes(path)
    try:
        return architecture(shapes, detect_scheme(shapes))
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
    _refuse_differences(
        f"{source} ({scheme} naming) does not fit model {model.name!r}",
        missing=missing,
        unexpected=unexpected,
        mismatched=mismatched,
    )
    for key, variable in variables.items():
        variable.assign(arrays[key])


def _refuse_differences(headline, missing, unexpected, mismatched):
    """Raises a `ValueError` that lists every difference, if there is one.

    Its first line counts them and names the first of each kind, for whoever
    shows one line.
    """
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": mismatched,
    }
    if not any(kinds.values()):
        return
    counts = ", ".join(
        f"{len(keys)} {kind}" + (f" ({keys[0]})" if keys else "")
        for kind, keys in kinds.items()
    )
    lines = [f"{headline}: tensors {counts}. Nothing was loaded."]
    for kind, keys in kinds.items():
        lines += [f"  {kind}: {key}" for key in keys]
    raise ValueError("\n".join(lines))


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
