"""Opens checkpoint files, tensor by tensor."""

import contextlib
import functools
import os

import h5py
import ml_dtypes  # noqa: F401  gives numpy the bfloat16 of some checkpoints
from safetensors import SafetensorError, safe_open

from gcvit_keras.weights.torch_file import LazyTensor, open_torch_file

_DTYPES = {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64"}


def open_checkpoint(path):
    """Opens a checkpoint and checks that it can be read.

    Args:
        path: Path of a `.safetensors`, `.pth` or `.pth.tar` file, or of an
            `.h5` of `write_checkpoint`.

    Returns:
        Context manager of a dict of key to `LazyTensor`, which can be read
        while it is open.

    Raises:
        ValueError: If the file is missing, damaged, or has a tensor of a
            type that numpy does not know.
    """
    path = os.fspath(path)
    if path.endswith(".safetensors"):
        return contextlib.nullcontext(_read(path, _index, path))
    return _open_h5(path) if path.endswith(".h5") else open_torch_file(path)


@contextlib.contextmanager
def _open_h5(path):
    try:
        file = h5py.File(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    tensors = {}

    def visit(key, item):
        if isinstance(item, h5py.Dataset):
            read = functools.partial(item.__getitem__, ())
            tensors[key] = LazyTensor(item.shape, read)

    with file:
        file.visititems(visit)
        yield tensors


def write_checkpoint(path, arrays):
    """Writes arrays one after another, so that one at a time is in memory.

    Args:
        path: Path of the `.h5` file.
        arrays: Iterable of pairs of a key and an array.
    """
    with h5py.File(path, "w") as file:
        for key, array in arrays:
            file[key] = array


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
