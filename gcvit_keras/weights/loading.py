"""Loads weights into a GC ViT: which file, what of it, adapted to the model."""

import functools
import math
import os
from dataclasses import dataclass

import keras
import numpy as np

from gcvit_keras.cubic import cubic_matrix
from gcvit_keras.weights.checkpoint import (
    ACCEPTED,
    file_format,
    open_checkpoint,
    split_name,
)
from gcvit_keras.weights.download import download_weights
from gcvit_keras.weights.keras_file import load_keras_file
from gcvit_keras.weights.messages import tell
from gcvit_keras.weights.names import (
    FINAL_NORM,
    FIRST_KEYS,
    HEAD,
    LAYER,
    LEVEL_NORMS,
    STEM_KERNEL,
    architecture,
    checkpoint_key,
    detect_scheme,
)
from gcvit_keras.weights.porting import assign_tensors
from gcvit_keras.weights.presets import Preset


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that exists and is of a known format.

    Attributes:
        path: Its path, perhaps with `#NAME` of a set of weights in it.
        averaged: Whether averages (EMA) in it are preferred.
    """

    path: str
    averaged: bool = True

    @property
    def is_keras(self):
        """Tells whether it is a `.weights.h5` that Keras wrote."""
        return file_format(split_name(self.path)[0]) == "h5"


def prepare(weights) -> WeightsFile:
    """Refuses what `load_weights` cannot load, before a model is built.

    Args:
        weights: See `load_weights`. A preset is downloaded if need be.

    Returns:
        `WeightsFile`, which `load_weights` takes as well.

    Raises:
        ValueError: If it is no preset and no file, or of another format.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> from gcvit_keras.weights import prepare
    >>> save_file({"head.bias": np.zeros(3, "float32")}, "model.safetensors")
    >>> print(prepare("model.safetensors").path)
    model.safetensors
    """
    if isinstance(weights, WeightsFile):
        return weights
    if isinstance(weights, Preset):
        # The published accuracies are those of the authors' validate.py,
        # which takes `state_dict` unless told otherwise.
        return WeightsFile(str(download_weights(weights)), averaged=False)
    if not isinstance(weights, (str, os.PathLike)):
        raise ValueError(
            "`weights` must be None, a Preset (by its name in a constructor "
            f"such as GCViTTiny), or the path of a file. Accepted are "
            f"{ACCEPTED}. Received: weights={weights!r}"
        )
    path, _ = split_name(weights)
    if not os.path.isfile(path):
        raise ValueError(
            "`weights` is no file, and no name of a Preset (which only a "
            "constructor such as GCViTTiny takes). "
            f"Received: weights={path!r}"
        )
    file_format(path)
    return WeightsFile(os.fspath(weights))


def load_weights(model: keras.Model, weights) -> None:
    """Loads a checkpoint into a GC ViT, all of it or nothing.

    What differs by intention is adapted, and one line on standard error says
    so:

    - the classifier, where the file or the model has none, or the model one
      of other than 1000 classes: all the rest is loaded;
    - position bias tables of other windows, which are resized as PyTorch's
      bicubic resizes (a = -0.75);
    - the stem's kernels for one input channel, summed over RGB, or for four,
      the fourth being the mean of the three;
    - a feature pyramid's norms, where the file has none.

    A `.weights.h5` has to fit as it is.

    Args:
        model: A model of this library. Layers of other names, such as those
            before an `input_tensor`, are left alone by a PyTorch checkpoint;
            a `.weights.h5` is of the whole model.
        weights: A `Preset`, downloaded if need be; or the path of a
            checkpoint of PyTorch in the naming of timm or of the official
            code: `.safetensors`, or what `torch.save` wrote (`.pth`,
            `.pth.tar`, `.pt`, `.bin`, `.ckpt`), or the `.index.json` of one
            in several files; or of a `.weights.h5` that Keras wrote. Files
            are recognised by their content, prefixes such as `module.` and
            dicts such as `state_dict` around the weights are found. Of
            several sets of weights the averages (EMA) are taken, as timm
            takes them; `"FILE#NAME"` chooses another, such as
            `"best.pth.tar#state_dict"`. PyTorch is not needed.

    Raises:
        ValueError: If the file cannot be read, or a tensor is too many, too
            few, of another shape, or not finite; the message lists them and
            the model is as before.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras import GCViT, load_weights
    >>> sizes = {"embed_dim": 8, "depths": (1, 1, 1, 1), "mlp_ratio": 1}
    >>> sizes |= {"num_heads": (1, 1, 1, 1), "input_shape": (32, 32, 3)}
    >>> one, other = (GCViT(**sizes, classes=2) for _ in range(2))
    >>> one.save_weights("one.weights.h5")
    >>> load_weights(other, "one.weights.h5")
    >>> np.array_equal(*(m.get_weights()[0] for m in (one, other)))
    True
    """
    weights = prepare(weights)
    if weights.is_keras:
        load_keras_file(model, weights.path)
        return
    path = weights.path
    tensors, note = open_checkpoint(
        path, FIRST_KEYS.values(), averaged=weights.averaged
    )
    scheme = detect_scheme(tensors)
    variables = checkpoint_variables(model, scheme)
    if not variables:
        raise ValueError(
            f"model {model.name!r} has no layers of GC ViT, such as `stem`. If "
            "one is inside it, give that one"
        )
    notes = [note] if note else []
    # The official code saves what it derives from the window size, too.
    tensors = {
        key: tensor
        for key, tensor in tensors.items()
        if key.replace("position_index", "position_bias_table") not in variables
        or key in variables
    }
    notes += _match_ends(variables, tensors, scheme, path)
    adaptations = Adaptations(model)
    assign_tensors(
        variables,
        tensors,
        f"{path} ({scheme} naming) does not fit model {model.name!r}",
        adapt=adaptations,
    )
    notes += adaptations.notes
    if notes:
        tell(f"{path}: loaded {'; '.join(dict.fromkeys(notes))}.")


def describe_checkpoint(path):
    """Tells what model a checkpoint is of, from its names and shapes.

    Args:
        path: Path of a checkpoint of PyTorch, as `load_weights` takes it.

    Returns:
        Dict of `embed_dim`, `depths`, `mlp_ratio`, `layer_scale` (whether
        there is one), `classes` (`None` without a classifier) and
        `window_size`.

    Raises:
        ValueError: If the file cannot be read or is no GC ViT checkpoint.

    Examples:
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> from gcvit_keras.weights import describe_checkpoint
    >>> first = "stages.0.blocks.0.mlp.fc1.weight"
    >>> shapes = {"stem.conv1.weight": (8, 3, 3, 3), first: (24, 8)}
    >>> for level in range(4):
    ...     block = f"stages.{level}.blocks.0"
    ...     shapes[f"{block}.norm1.weight"] = (8 * 2**level,)
    ...     table = f"{block}.attn.rel_pos.relative_position_bias_table"
    ...     shapes[table] = (13 * 13, 1)
    >>> tensors = {k: np.zeros(s, "float32") for k, s in shapes.items()}
    >>> save_file(tensors, "model.safetensors")
    >>> model = describe_checkpoint("model.safetensors")
    >>> model["embed_dim"], model["depths"], model["window_size"]
    (8, (1, 1, 1, 1), (7, 7, 7, 7))
    """
    tensors, _ = open_checkpoint(path, FIRST_KEYS.values())
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    try:
        return architecture(shapes, detect_scheme(shapes))
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def checkpoint_variables(model, scheme):
    """Finds the variables that a checkpoint of this model holds.

    Returns a dict of checkpoint key, in the naming `scheme`, to variable.
    """
    return {
        checkpoint_key(path_from(layer, variable), scheme): variable
        for layer in model.layers
        if LAYER.fullmatch(layer.name)
        for variable in layer.weights
    }


def path_from(layer, variable) -> str:
    """Gives a variable's path from the name of its layer on.

    It is such as `"stem/conv/kernel"`, while `variable.path` begins with
    whatever the layer was built in: a `keras.name_scope`, or another layer.
    """
    name = f"{layer.name}/"
    return name + f"/{variable.path}".partition(f"/{name}")[2]


def _match_ends(variables, tensors, scheme, source):
    """Leaves ends that differ by intention, a classifier or norms, alone.

    Variables that the file has no tensor for, and tensors that the model has no
    variable for, are taken out of their dicts. Returns strings: what the user
    is told.
    """

    def keys(paths):
        return [checkpoint_key(path, scheme) for path in paths]

    def take_out(keys, items):
        return [items.pop(key, None) for key in keys]

    notes = []
    head = kernel, bias = keys(HEAD)
    whole = kernel in variables and bias in variables
    own = variables[kernel].shape[1] if whole else None
    theirs = tensors[bias].shape[0] if {*head} <= {*tensors} else None
    untrained = f"; the model's, of {own}, is untrained" if own else ""
    if own == 1000 and theirs != 1000 and (theirs or not {*head} & {*tensors}):
        has = f"is of {theirs} classes" if theirs else "has no classifier"
        wanted = f"classes={theirs}" if theirs else "the classes of your own"
        raise ValueError(
            f"{source} {has}, the model is of 1000. Pass {wanted}, or "
            "include_top=False for a classifier of your own. Nothing was "
            "loaded."
        )
    if theirs and theirs != own:
        notes.append(f"without its classifier of {theirs} classes" + untrained)
        take_out(head, variables)
        take_out(head, tensors)
    elif own and not {*head} & {*tensors}:
        notes.append("all, a backbone without a classifier" + untrained)
        take_out(head, variables)
    norm = keys(FINAL_NORM)
    if not {*norm} & {*variables} and any(take_out(norm, tensors)):
        notes.append("without its final norm")
    norms = keys(LEVEL_NORMS)
    if {*norms} & {*variables} and not {*norms} & {*tensors}:
        notes.append("the norms of the levels are untrained")
        take_out(norms, variables)
    return notes


class Adaptations:
    """Finds what makes a tensor of another shape fit a GC ViT's variable.

    Args:
        model: A model of this library; its windows are asked for.

    Attributes:
        notes: List of strings, what was adapted.
    """

    def __init__(self, model):
        """Looks up the windows of the model's position tables."""
        self.notes = []
        self.windows = {
            layer.attention.relative_position_bias_table.path: (
                layer.attention.window_size
            )
            for layer in model.layers
            if hasattr(layer, "attention")
        }

    def __call__(self, variable, shape):
        """Finds the function for a variable; see `assign_tensors`."""
        target = tuple(variable.shape)
        is_stem = variable.path.endswith(STEM_KERNEL)
        if is_stem and shape[2:] == (3, target[3]):
            if target[2] == 1:
                self.notes.append("with the stem's kernels summed over RGB")
                return functools.partial(np.sum, axis=2, keepdims=True)
            if target[2] == 4:
                self.notes.append(
                    "with the mean of the stem's RGB kernels for the fourth "
                    "channel: four channels are not normalised by the model"
                )
                return _with_mean
        window = self.windows.get(variable.path)
        side = math.isqrt(shape[0])
        odd_square = side**2 == shape[0] and side % 2
        if window and odd_square and shape[1:] == target[1:]:
            height, width = window
            self.notes.append(
                "with position tables resized from windows of "
                f"{(side + 1) // 2} to "
                + (f"{height}" if height == width else f"{height} x {width}")
            )
            return functools.partial(resize_table, window=window)
        return None


def _with_mean(kernel):
    mean = kernel.mean(axis=2, keepdims=True, dtype="float64")
    return np.concatenate([kernel, mean], axis=2)


def resize_table(table, window):
    """Resizes a relative position bias table to another window's.

    The table `((2w - 1)^2, heads)` is a grid of offsets, resized with the cubic
    kernel of `cubic_matrix` to `((2v - 1) * (2u - 1), heads)`, float64, for the
    window `(v, u)`.
    """
    source = math.isqrt(table.shape[0])
    rows, columns = (cubic_matrix(source, 2 * side - 1) for side in window)
    grid = table.reshape(source, source, -1).astype("float64")
    resized = np.einsum("ia,jb,abh->ijh", rows, columns, grid, optimize=True)
    return resized.reshape(-1, table.shape[1])
