"""Strict porting of PyTorch checkpoints onto a Keras model's variables."""

import contextlib
import math
import os
import re
import tempfile

import h5py
import keras
import numpy as np

from gcvit_keras.cubic import cubic_matrix
from gcvit_keras.weights.checkpoint import open_checkpoint, write_checkpoint
from gcvit_keras.weights.download import (
    cache_folder,
    download_weights,
    temporary_beside,
)
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.names import (
    LAYER,
    architecture,
    checkpoint_key,
    detect_scheme,
)
from gcvit_keras.weights.presets import Preset
from gcvit_keras.weights.torch_file import LazyTensor

NORM_PARTS = ("gamma", "beta")

CHECKPOINTS = (".safetensors", ".pth", ".pth.tar")
"""Suffixes of files in PyTorch's names and layouts."""


def prepare(weights):
    """Refuses what `load_weights` cannot load, before a model is built.

    A preset that is in no cache yet is downloaded.

    Args:
        weights: See `load_weights`.

    Raises:
        ValueError: If it is no preset and no file, or of another suffix.
        DownloadError: If a preset cannot be downloaded.
    """
    if isinstance(weights, Preset):
        if not _cached(weights).is_file():
            download_weights(weights)
        return
    path = os.fspath(weights) if _is_path(weights) else ""
    if not path.endswith((*CHECKPOINTS, ".weights.h5")):
        raise ValueError(
            "`weights` must be None, a Preset (by its name in a constructor "
            "such as GCViTTiny), or the path of a .safetensors, .pth, "
            ".pth.tar or .weights.h5 file. "
            f"Received: weights={weights!r}"
        )
    if not os.path.isfile(path):
        raise ValueError(f"`weights` is no file. Received: weights={path!r}")


def _is_path(value):
    return isinstance(value, (str, os.PathLike))


def load_weights(model: keras.Model, weights) -> None:
    """Loads a checkpoint into a GC ViT, all of it or nothing.

    What differs by intention is adapted, and one line on standard error says
    so:

    - the classifier, where the model has none or one of other than 1000
      classes: all the rest is loaded;
    - position bias tables of other windows, which are resized as PyTorch's
      bicubic resizes (a = -0.75);
    - the stem's kernels for one input channel, summed over RGB, or for four,
      the fourth being the mean of the three.

    A `.weights.h5` has to fit as it is.

    Args:
        model: A model of this library. Layers of other names, such as those
            before an `input_tensor`, are left alone by a PyTorch checkpoint;
            a `.weights.h5` is of the whole model.
        weights: A `Preset`, downloaded if need be; or the path of a
            `.safetensors`, `.pth` or `.pth.tar` file in the naming of timm or
            of the official code; or of a `.weights.h5` that Keras wrote.
            PyTorch is not needed.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few or of another shape; the message lists them and the model is
            as before.
        DownloadError: If a preset cannot be downloaded.
    """
    prepare(weights)
    if isinstance(weights, Preset):
        _load_preset(model, weights)
        return
    path = os.fspath(weights)
    if path.endswith(CHECKPOINTS):
        with open_checkpoint(path) as tensors:
            port(model, tensors, source=path)
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


def _cached(preset):
    """Where the preset lies in Keras's layout once it was loaded."""
    return cache_folder() / f"{preset.file}.safetensors"


def _load_preset(model, preset):
    """Loads a downloaded preset, and keeps it in Keras's layout.

    That is read without a pickle and without transposing, whatever the
    model's head and size.
    """
    source = f"GC ViT {preset.variant} {preset.name}"
    cached = _cached(preset)
    with contextlib.ExitStack() as stack:
        if cached.is_file():
            try:
                tensors = stack.enter_context(open_checkpoint(cached))
            except ValueError as error:
                tell(f"Making it again from the download: {error}")
                with contextlib.suppress(OSError):
                    cached.unlink()
            else:
                port(model, tensors, source)
                return
    with open_checkpoint(download_weights(preset)) as tensors:
        port(model, tensors, source)
        beside = temporary_beside(cached)
        try:
            write_checkpoint(beside, _in_keras_layout(model, tensors))
            os.replace(beside, cached)
        except OSError as error:
            # A full or read-only disk: the model is loaded all the same.
            tell(f"{cached} could not be written: {error}")
            with contextlib.suppress(OSError):
                beside.unlink()


def _in_keras_layout(model, tensors):
    """All of a checkpoint's tensors by Keras path, in Keras's layout.

    Args:
        model: Any model of its variant: it tells paths and ranks.
        tensors: Dict of key to `LazyTensor`.

    Returns:
        Dict of path to `LazyTensor`.
    """
    scheme = detect_scheme(tensors)
    ranks = {
        path: len(variable.shape)
        for path, variable in checkpoint_variables(model, "keras").items()
    }
    # A model without the top does not tell.
    ranks |= {"predictions/kernel": 2, "predictions/bias": 1}

    def lay_out(tensor, path, rank):
        # Of a view of one zero: nothing of the shape's size is allocated.
        zero = np.broadcast_to(np.float32(0), tensor.shape)
        return LazyTensor(
            to_keras_layout(zero, path, rank).shape,
            lambda: to_keras_layout(tensor.read(), path, rank),
        )

    return {
        path: lay_out(tensors[key], path, rank)
        for path, rank in ranks.items()
        # A backbone's checkpoint has no classifier.
        if (key := checkpoint_key(path, scheme)) in tensors
    }


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
    with open_checkpoint(path) as tensors:
        shapes = {key: tensor.shape for key, tensor in tensors.items()}
    try:
        return architecture(shapes, detect_scheme(shapes))
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def port(model, tensors, source):
    """Assigns tensors in PyTorch's names and layouts to a GC ViT.

    Args:
        model: See `load_weights`.
        tensors: Dict of key to `LazyTensor`.
        source: What to call the tensors in messages.

    Raises:
        ValueError: As `load_weights`.
    """
    try:
        scheme = detect_scheme(tensors)
    except ValueError as error:
        raise ValueError(f"{source} {error}") from None
    variables = checkpoint_variables(model, scheme)
    if not variables:
        raise ValueError(
            f"model {model.name!r} has no layers of GC ViT, such as `stem`. If "
            "one is inside it, give that one"
        )

    def layout(tensor, variable):
        if scheme == "keras":
            return tensor
        return to_keras_layout(tensor, variable.path, len(variable.shape))

    kernel, bias = (
        checkpoint_key(f"predictions/{name}", scheme)
        for name in ("kernel", "bias")
    )
    notes = []
    if kernel in tensors and bias in tensors:
        classes = tensors[bias].shape[0]
        whole = kernel in variables and bias in variables
        own = variables[kernel].shape[1] if whole else None
        if own == 1000 != classes:
            raise ValueError(
                f"{source} is of {classes} classes, the model of 1000. Pass "
                f"classes={classes}, or include_top=False for a classifier "
                "of your own. Nothing was loaded."
            )
        if own != classes:
            notes.append(
                f"without its classifier of {classes} classes"
                + (f"; the model's, of {own}, is untrained" if own else "")
            )
            tensors = {
                key: tensor
                for key, tensor in tensors.items()
                if key not in (kernel, bias)
            }
            variables.pop(kernel, None)
            variables.pop(bias, None)

    final_norm = {checkpoint_key(f"norm/{p}", scheme) for p in NORM_PARTS}
    if final_norm <= set(tensors) and not final_norm & set(variables):
        # A backbone normalises each level, if any, in place of the last map.
        notes.append("without its final norm")
        tensors = {k: t for k, t in tensors.items() if k not in final_norm}
        level_norms = [
            key
            for key, variable in variables.items()
            if re.match(r"level_\d_norm/", variable.path)
        ]
        if level_norms and not set(level_norms) & set(tensors):
            notes.append("the norms of the levels are untrained")
            for key in level_norms:
                del variables[key]

    missing = [key for key in variables if key not in tensors]
    unexpected = [
        key
        for key in tensors
        if key not in variables
        # A buffer of the official code, derived from the window size.
        and _table_of_index(key) not in variables
    ]
    adapt, mismatched = {}, []
    for key, variable in variables.items():
        if key in missing:
            continue
        # Of a view of one zero: nothing of the shape's size is allocated.
        zero = np.broadcast_to(np.float32(0), tensors[key].shape)
        shape = layout(zero, variable).shape
        if shape == tuple(variable.shape):
            continue
        adapt[key] = _adaption(variable, shape)
        if adapt[key] is None:
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
        array = layout(tensors[key].read(), variable)
        if key in adapt:
            array, note = adapt[key](array, tuple(variable.shape))
            notes.append(note)
        variable.assign(array)
    if notes:
        tell(f"{source}: loaded {'; '.join(dict.fromkeys(notes))}.")


def _adaption(variable, shape):
    """What makes a tensor of this shape fit the variable.

    Returns:
        Function of the array in Keras layout and the variable's shape that
        returns the array and what to say of it; `None` if nothing does.
    """
    target = tuple(variable.shape)
    if variable.path == "stem/conv/kernel" and shape[2:] == (3, target[3]):
        return {1: _to_grey, 4: _to_four_channels}.get(target[2])
    if variable.path.endswith("relative_position_bias_table"):
        odd_square = math.isqrt(shape[0]) ** 2 == shape[0] and shape[0] % 2
        if odd_square and shape[1:] == target[1:]:
            return resize_table
    return None


def _to_grey(kernel, shape):
    """What an RGB image of three equal channels would give."""
    note = (
        "with the stem's kernels summed over RGB: one channel is not "
        "normalised by the model, give it (grey / 255 - 0.449) / 0.226"
    )
    return kernel.astype("float64").sum(axis=2, keepdims=True), note


def _to_four_channels(kernel, shape):
    note = (
        "with the mean of the stem's RGB kernels for the fourth channel: "
        "four channels are not normalised by the model"
    )
    mean = kernel.astype("float64").mean(axis=2, keepdims=True)
    return np.concatenate([kernel, mean], axis=2), note


def resize_table(table, shape):
    """Resizes a relative position bias table to another window's.

    The table is a grid of (2w - 1) x (2w - 1) offsets, resized with the cubic
    kernel of `cubic_matrix`.

    Args:
        table: Array `((2w - 1)^2, heads)`.
        shape: Shape of the result, `((2v - 1)^2, heads)`.

    Returns:
        The float64 array, and what to say of it.
    """
    source, target = math.isqrt(table.shape[0]), math.isqrt(shape[0])
    matrix = cubic_matrix(source, target)
    grid = table.reshape(source, source, -1).astype("float64")
    resized = np.einsum("ia,jb,abh->ijh", matrix, matrix, grid, optimize=True)
    note = (
        "with position tables resized from windows of "
        f"{(source + 1) // 2} to {(target + 1) // 2}"
    )
    return resized.reshape(shape), note


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
        scheme: `"official"`, `"timm"` or `"keras"`.

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


def to_keras_layout(tensor, path, rank):
    """A PyTorch tensor in the layout of the Keras variable it belongs to.

    Args:
        tensor: Array of a convolution (out, in, height, width), a depthwise
            one (channels, 1, height, width), a dense layer (out, in), also
            as a 1 x 1 convolution, or a vector.
        path: Path of the Keras variable.
        rank: How many axes it has.

    Returns:
        View of the array; its shape is the variable's where they fit.
    """
    if tensor.ndim == 4 and rank == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[:, :, 0, 0]
    if "relative_position_bias_table" in path:
        return tensor
    if tensor.ndim == 4 and "/depthwise/" in path:
        return np.transpose(tensor, (2, 3, 0, 1))
    if tensor.ndim == 4:
        return np.transpose(tensor, (2, 3, 1, 0))
    return tensor.T if tensor.ndim == 2 else tensor


def _table_of_index(key):
    return key.replace(
        "relative_position_index", "relative_position_bias_table"
    )
