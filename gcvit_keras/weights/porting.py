"""Assigns PyTorch's tensors to Keras's variables: all of them, or none."""

import numpy as np


def assign_tensors(
    variables, tensors, source, *, layout=None, adapt=lambda *_: None
):
    """Loads a PyTorch state dict into Keras variables, strictly.

    Every variable gets its tensor and every tensor has its variable, or an
    error lists the differences and nothing is changed. For a model with
    names of its own, a table is all that it takes:

        tensors, _ = open_checkpoint(path, ["backbone.patch_embed.proj.weight"])
        variables = {key_of(v.path): v for v in model.weights}
        assign_tensors(variables, tensors, f"{path} for {model.name!r}")

    Args:
        variables: Dict of the checkpoint's key to the `keras.Variable` that
            it belongs to.
        tensors: Dict of key to `LazyTensor`, as `open_checkpoint` returns, or
            to array, in PyTorch's layout.
        source: Name of the tensors in messages, such as a path.
        layout: Function of an array and its variable that returns the array
            in Keras's layout. Default: `to_keras_layout`.
        adapt: Function of a variable and the shape, in Keras's layout, of a
            tensor that does not fit it. It returns a function from the
            tensor's array, in that layout, to one that fits; or `None` where
            nothing does, the default.

    Raises:
        ValueError: If a tensor is too many, too few, of another shape or has
            numbers that are not finite, or cannot be read. Its first line
            counts them and names the first of each kind; a line per tensor
            follows.

    Examples:
    >>> import keras, numpy as np
    >>> from gcvit_keras.weights import assign_tensors
    >>> dense = keras.layers.Dense(2, use_bias=False)
    >>> dense.build((None, 3))
    >>> tensors = {"fc.weight": np.arange(6.0).reshape(2, 3)}
    >>> assign_tensors({"fc.weight": dense.kernel}, tensors, "an example")
    >>> dense.kernel.numpy().tolist()
    [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """
    layout = layout or to_keras_layout
    adapters, mismatched = {}, []
    for key, variable in variables.items():
        if key not in tensors:
            continue
        # A view of one zero: nothing of the shape's size is allocated.
        zero = np.broadcast_to(np.float32(0), tensors[key].shape)
        shape = layout(zero, variable).shape
        if shape == tuple(variable.shape):
            continue
        adapters[key] = adapt(variable, shape)
        if adapters[key] is None:
            mismatched.append(
                f"{key}: {tuple(tensors[key].shape)} in the file, "
                f"{variable.path} has {tuple(variable.shape)}"
            )
    refuse_differences(
        source,
        {
            "missing": [key for key in variables if key not in tensors],
            "unexpected": [key for key in tensors if key not in variables],
            "of another shape": mismatched,
        },
    )
    # All are read once before the first is assigned: a tensor that cannot be
    # read or is not finite must not stop the loading halfway.
    broken = [k for k in variables if not np.isfinite(_read(tensors[k])).all()]
    refuse_differences(source, {"with NaN or infinity": broken})
    for key, variable in variables.items():
        array = layout(_read(tensors[key]), variable)
        if key in adapters:
            array = adapters[key](array)
        variable.assign(array)


def refuse_differences(source, kinds):
    """Raises a `ValueError` that lists every difference, if there is one.

    The message begins with `source`; `kinds` is a dict of a kind of difference
    to a list of the keys that differ so, each with details or alone.
    """
    if not any(kinds.values()):
        return
    counts = ", ".join(
        f"{len(keys)} {kind}" + (f" ({keys[0]})" if keys else "")
        for kind, keys in kinds.items()
    )
    lines = [f"{source}: tensors {counts}. Nothing was loaded."]
    for kind, keys in kinds.items():
        lines += [f"  {kind}: {key}" for key in keys]
    raise ValueError("\n".join(lines))


def to_keras_layout(tensor, variable):
    """Gives a PyTorch tensor in the layout of its Keras variable.

    Args:
        tensor: Array of a convolution (out, in, height, width), a transposed
            one (in, out, height, width), a depthwise one
            (channels, 1, height, width), a dense layer (out, in), also as a
            1 x 1 convolution, a vector or a number; or of a table of
            relative positions, which is laid out the same in both.
        variable: The `keras.Variable`.

    Returns:
        View of the array; its shape is the variable's where they fit.
    """
    if tensor.ndim == 4 and len(variable.shape) == 2:
        if tensor.shape[2:] == (1, 1):
            tensor = tensor[:, :, 0, 0]
    if "relative_position_bias_table" in variable.path:
        return tensor
    if tensor.ndim == 4:
        depthwise = tensor.shape[1] == 1 == variable.shape[-1]
        return tensor.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    return tensor.T if tensor.ndim == 2 else tensor


def _read(tensor):
    """Reads a tensor as an array of a type that every backend takes."""
    array = np.asarray(tensor)
    is_numpys = np.issubdtype(array.dtype, np.floating)
    return array if is_numpys else array.astype("float32")
