"""Opens checkpoints of PyTorch: recognises the file, finds the weights in it.

A file is recognised by its first bytes, not by its name. The weights in it
are where a tensor lies that every model of their kind has, such as
`patch_embed.proj.weight`, whatever prefix (`module.`, `model.`,
`_orig_mod.`) its key has and whatever dict (`state_dict`, `ema`) it lies in.
"""

import os
import re

from gcvit_keras.weights.safetensors_file import read_index, read_safetensors
from gcvit_keras.weights.tensors import LazyTensor, cannot_be_read
from gcvit_keras.weights.torch_file import Skipped, read_torch_file

ACCEPTED = (
    "files of torch.save (.pth, .pth.tar, .pt, .bin, .ckpt), .safetensors, "
    "the .index.json of several of either, and Keras's .weights.h5"
)
"""Formats that are read, as messages list them."""

# The order of timm's `load_state_dict`, timm/models/_helpers.py.
_ORDER = ("state_dict_ema", "model_ema", "state_dict", "model")
_AVERAGED = re.compile(r"(^|[._])ema([._]|$)", re.IGNORECASE)
_COUNTER = re.compile(r"(.*\.)?(n_averaged|steps)")
"""Keys of the number of updates in PyTorch's and MMEngine's averaged models."""
_DEEPEST = 4
"""Largest number of dicts in each other that are looked into."""


def file_format(path):
    """Recognises a file of weights by its first bytes.

    Returns `"torch"`, `"safetensors"`, `"index"` or `"h5"`, or raises a
    `ValueError` that says how the file begins and what is accepted.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise cannot_be_read(path, error) from None
    if start.startswith((b"PK", b"\x80\x02")):
        return "torch"
    if start.startswith(b"\x89HDF"):
        return "h5"
    if start[8:9] == b"{":
        return "safetensors"
    if start.lstrip().startswith(b"{"):
        return "index"
    known = {
        b"version https://git-lfs": "is a pointer of Git LFS: `git lfs pull`",
        b"<": "is a page of HTML or XML",
    }
    what = f"begins with {start[:16]!r}" if start else "is empty"
    what = next((known[k] for k in known if start.startswith(k)), what)
    raise ValueError(
        f"{os.fspath(path)} cannot be read: it {what}. Accepted are {ACCEPTED}"
    )


def read_checkpoint(path):
    """Reads all of a checkpoint of one or several files but the numbers.

    Returns a dict of key to `LazyTensor`; of a file of `torch.save` any object,
    with a `LazyTensor` for each tensor. Raises a `ValueError` if the file is
    missing, damaged, of another format, or has a tensor of a type that numpy
    does not have.
    """
    path = os.fspath(path)
    kind = file_format(path)
    if kind == "torch":
        return read_torch_file(path)
    if kind == "safetensors":
        return read_safetensors(path)
    if kind == "index":
        return read_index(path, read_checkpoint)
    raise ValueError(f"{path} is Keras's own format, not a checkpoint")


def open_checkpoint(path, anchors, *, averaged=True):
    """Finds the weights in a checkpoint.

    Where there are several sets of them, the averaged one (EMA) is taken, as
    timm takes it; `FILE#NAME` takes what lies under that name.

    Args:
        path: Path of the checkpoint, or `"FILE#NAME"`, such as
            `"best.pth.tar#state_dict"`.
        anchors: Keys by which the weights are recognised: a model of their
            kind has one of them.
        averaged: Whether averages are preferred.

    Returns:
        Dict of key, without the prefix that all keys have, to `LazyTensor`;
        and a note that says which set was taken of which, empty if there is
        one.

    Raises:
        ValueError: If the file cannot be read, holds none of `anchors`, or
            several sets of which none is to be preferred.

    Examples:
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> from gcvit_keras.weights import open_checkpoint
    >>> bias = np.zeros(3, "float32")
    >>> save_file({"module.head.bias": bias}, "model.safetensors")
    >>> tensors, note = open_checkpoint("model.safetensors", ["head.bias"])
    >>> print({key: tensor.shape for key, tensor in tensors.items()})
    {'head.bias': (3,)}
    """
    file, name = split_name(path)
    tree = read_checkpoint(file)
    sets = _find_sets(tree, anchors, f"{name}." if name else "")
    if not sets:
        raise ValueError(
            f"{path} holds no weights of this kind: no key in it ends in "
            f"{' or '.join(f'`{a}`' for a in anchors)}. {_summary(tree)}"
        )
    names = sorted(sets, key=lambda name: _rank(name, averaged))
    chosen, *others = names
    if others and _rank(chosen, averaged) == _rank(others[0], averaged):
        raise ValueError(
            f"{file} holds several sets of weights. Choose one of "
            + ", ".join(f"{file}#{name}" for name in names)
        )
    for key, value in sets[chosen].items():
        if not isinstance(value, LazyTensor):
            key = f"{chosen}.{key}".strip(".")
            raise ValueError(
                f"{path} holds {_describe(value)} at {key!r}, where a tensor "
                "belongs"
            )
    note = ""
    if others:
        average = " (EMA)" if _AVERAGED.search(chosen) else ""
        rest = " or ".join(f"`{name}`" for name in others)
        note = (
            f"`{chosen}`{average}, not {rest} ({file}#{others[0]} loads that)"
        )
    return sets[chosen], note


def split_name(path):
    """Splits `FILE#NAME`; a file that has `#` in its own name is whole.

    Returns the path of the file and the name, empty if there is none.
    """
    path = os.fspath(path)
    file, _, name = path.rpartition("#")
    if not file or os.path.exists(path):
        return path, ""
    return file, name.strip(".")


def _find_sets(tree, anchors, under):
    """Finds the sets of weights: a dict of name to dict of key to value."""
    sets = {}
    for place, items in _dicts(tree):
        items = {
            key: value
            for key, value in items.items()
            if isinstance(key, str)
            and not isinstance(value, dict)
            and f"{place}{key}".startswith(under)
        }
        prefixes = sorted(
            {
                key.removesuffix(anchor)
                for key in items
                for anchor in anchors
                if f".{key}".endswith(f".{anchor}")
            },
            key=len,
        )
        of_this_dict = {prefix: {} for prefix in prefixes}
        for key, value in items.items():
            if _is_counter(key, value, prefixes):
                continue
            # A key without any of the prefixes goes into every set, so that
            # loading refuses it.
            mine = [p for p in prefixes if key.startswith(p)][-1:] or prefixes
            for prefix in mine:
                of_this_dict[prefix][key.removeprefix(prefix)] = value
        for prefix, values in of_this_dict.items():
            sets[f"{place}{prefix}".rstrip(".")] = values
    return sets


def _is_counter(key, value, prefixes):
    """Tells whether a scalar counts the updates of the averages beside it."""
    match = _COUNTER.fullmatch(key)
    if not match or not isinstance(value, LazyTensor) or value.shape:
        return False
    averaged = f"{match[1] or ''}module."
    return any(prefix.startswith(averaged) for prefix in prefixes)


def _dicts(tree):
    """Yields every dict with its place in the tree, such as `"ema."`."""
    places = [("", tree, 0)] if isinstance(tree, dict) else []
    seen = set()
    while places:
        place, items, depth = places.pop(0)
        if id(items) in seen or depth > _DEEPEST:  # it may hold itself
            continue
        seen.add(id(items))
        yield place, items
        places += [
            (f"{place}{key}.", value, depth + 1)
            for key, value in items.items()
            if isinstance(key, str) and isinstance(value, dict)
        ]


def _rank(name, averaged):
    first = name.split(".")[0]
    order = _ORDER.index(first) if first in _ORDER else len(_ORDER)
    return bool(_AVERAGED.search(name)) != averaged, order


def _summary(tree):
    """Describes a file that holds something else than was expected."""
    if not isinstance(tree, dict):
        return (
            f"It holds one {_describe(tree)}: save model.state_dict() instead"
        )
    lines = []
    for place, items in _dicts(tree):
        entries = [
            f"{place}{key} ({_describe(value)})"
            for key, value in items.items()
            if not isinstance(value, dict)
        ]
        rest = f" and {len(entries) - 3} more" if len(entries) > 3 else ""
        lines += [", ".join(entries[:3]) + rest] if entries else []
    return f"It holds {'; '.join(lines[:5]) or 'nothing'}"


def _describe(value):
    if isinstance(value, LazyTensor):
        return f"tensor {value.shape}"
    return value.name if isinstance(value, Skipped) else type(value).__name__
