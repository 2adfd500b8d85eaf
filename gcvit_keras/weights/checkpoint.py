"""Opens checkpoint files, tensor by tensor."""

import contextlib
import functools
import json
import math
import os

import ml_dtypes  # noqa: F401  gives numpy the bfloat16 of some checkpoints
import numpy as np
from safetensors import SafetensorError, safe_open

from gcvit_keras.weights.torch_file import LazyTensor, open_torch_file

_DTYPES = {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64"}


def open_checkpoint(path):
    """Opens a checkpoint and checks that it can be read.

    Args:
        path: Path of a `.safetensors`, `.pth` or `.pth.tar` file.

    Returns:
        Context manager of a dict of key to `LazyTensor`, which can be read
        while it is open.

    Raises:
        ValueError: If the file is missing, damaged, or has a tensor of a
            type that numpy does not know.
    """
    path = os.fspath(path)
    if not path.endswith(".safetensors"):
        return open_torch_file(path)
    return contextlib.nullcontext(_read(path, _index, path))


def write_checkpoint(path, tensors):
    """Writes a `.safetensors` file of float32, one tensor after another.

    The library's own writer wants all of them in memory at once.

    Args:
        path: Path of the file.
        tensors: Dict of key to `LazyTensor`.
    """
    header, end = {}, 0
    for key, tensor in tensors.items():
        start, end = end, end + 4 * math.prod(tensor.shape)
        header[key] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor.read(), "<f4").data)


def _index(file, path):
    tensors, reader = {}, _Reader(path)
    for key in file.keys():  # noqa: SIM118  not a dict
        part = file.get_slice(key)
        if part.get_dtype() not in _DTYPES:
            raise ValueError(
                f"{path} has {key} as {part.get_dtype()}, which is not read"
            )
        read = functools.partial(reader.read, key)
        tensors[key] = LazyTensor(tuple(part.get_shape()), read)
    return tensors


class _Reader:
    """Opens the file anew every 64 MB.

    One that stays open keeps every page that was read in the process's
    memory; opening it takes a millisecond.
    """

    def __init__(self, path):
        self.path = path
        self.room = 0

    def read(self, key):
        if self.room <= 0:
            self.file = safe_open(self.path, "np")
            self.room = 64 * 2**20
        array = self.file.get_tensor(key)
        self.room -= array.nbytes
        return array


def _read(path, function, *arguments):
    try:
        with safe_open(path, "np") as file:
            return function(file, *arguments)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
