"""Reads what `torch.save` wrote, without PyTorch and without trusting it.

Such a file is a zip archive of a pickle, `data.pkl`, and of raw storages,
`data/0` and on. A pickle can call anything it names; here it can name only
what tensors and plain containers are made of. Everything else in it (an
optimizer's state, an argparse namespace) becomes an inert `_Skipped`.
"""

import collections
import contextlib
import functools
import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
MAX_PICKLE = 64 * 2**20
"""Bytes of `data.pkl` that are read at most; it names tensors, no more."""

NESTED = ("state_dict", "model")
"""Under which keys training scripts put the weights, the first one found."""


class LazyTensor(NamedTuple):
    """A tensor of an open file.

    Attributes:
        shape: Its shape, a tuple.
        read: Reads it; returns a numpy array.
    """

    shape: tuple
    read: Callable[[], np.ndarray]


@contextlib.contextmanager
def open_torch_file(path):
    """Opens a file of `torch.save` and checks that its weights are whole.

    Args:
        path: Path of a `.pth` or `.pth.tar` file, of weights or of a training
            checkpoint that holds them as `state_dict` or `model`. A
            `module.` before every key, from data parallel training, is left
            out.

    Yields:
        Dict of key to `LazyTensor`, readable while the file is open: a large
        checkpoint need not be in memory beside the model it is for.

    Raises:
        ValueError: If the file is missing, damaged, or holds no weights.
    """
    with contextlib.ExitStack() as stack:
        with _errors_naming(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            weights, entries = _index(archive, os.path.getsize(path))
            for entry in {entries[t.storage] for t in weights.values()}:
                _check_whole(archive, entry)

        @functools.lru_cache(maxsize=1)  # neighbours may share a storage
        def storage(key):
            return np.frombuffer(archive.read(entries[key]), key.dtype)

        def read(tensor):
            with _errors_naming(path):
                return _array(tensor, storage(tensor.storage))

        yield {
            key: LazyTensor(tensor.shape, functools.partial(read, tensor))
            for key, tensor in weights.items()
        }


@contextlib.contextmanager
def _errors_naming(path):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{path} cannot be read: {reason}") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as a zip archive of torch.save: {error}"
        ) from error


def _index(archive, size):
    """The weights in the archive and the zip entry of each storage."""
    entries = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in entries if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ValueError("is a zip archive, but not one of torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    for info in entries.values():
        # torch.save stores without compressing; what is compressed could
        # unpack to any size.
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"holds {info.filename} compressed")
    if sum(info.file_size for info in entries.values()) > size:
        raise ValueError("claims to hold more than its own size")
    if entries[pickles[0]].file_size > MAX_PICKLE:
        raise ValueError(f"has a pickle of over {MAX_PICKLE} bytes")
    order = folder + "byteorder"
    if order in entries and archive.read(order) != b"little":
        raise ValueError("was written on a big-endian machine")

    try:
        root = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
    except (ValueError, OSError):
        raise
    except Exception as error:  # a damaged pickle raises many kinds
        raise ValueError(f"has a damaged pickle: {error}") from error
    weights = _weights_of(root)

    storages = {}
    for key, tensor in weights.items():
        name = f"{folder}data/{tensor.storage.key}"
        if name not in entries:
            raise ValueError(f"has no storage {name}")
        storages[tensor.storage] = entries[name]
        elements, rest = divmod(
            entries[name].file_size, tensor.storage.dtype.itemsize
        )
        if rest:
            raise ValueError(f"has a storage {name} that ends in mid-number")
        _check_extent(key, tensor, elements)
    return weights, storages


def _check_whole(archive, entry):
    """Reads an entry through: zipfile compares its checksum at the end."""
    with archive.open(entry) as file:
        while file.read(2**20):
            pass


def _weights_of(root):
    """The dict of tensors in what was pickled."""
    if isinstance(root, dict):
        for key in NESTED:
            if isinstance(root.get(key), dict):
                root = root[key]
                break
    if not isinstance(root, dict) or not root:
        raise ValueError(
            f"holds no weights: its root is {_describe(root)}, neither a "
            "dict of tensors nor one with state_dict or model"
        )
    for key, value in root.items():
        if not isinstance(key, str) or not isinstance(value, _Tensor):
            raise ValueError(
                f"holds {_describe(value)} at {key!r}, where a tensor belongs"
            )
    prefix = "module."
    if all(key.startswith(prefix) for key in root):
        return {key.removeprefix(prefix): t for key, t in root.items()}
    return root


def _describe(value):
    if isinstance(value, _Skipped):
        return f"a {value.name}"
    return f"a {type(value).__name__}"


def _check_extent(key, tensor, elements):
    """Shape and strides are the file's claims; storages have an end."""
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 32:
        raise ValueError(f"has a tensor of impossible strides: {key}")
    last = tensor.offset + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    # Elements may be shared, as in expanded tensors, but not multiplied
    # without bound.
    if 0 not in tensor.shape and (
        last >= elements or math.prod(tensor.shape) > elements
    ):
        raise ValueError(f"has a tensor larger than its storage: {key}")


def _array(tensor, storage):
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, storage.dtype)
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        [s * storage.itemsize for s in tensor.strides],
        writeable=False,
    )


_Storage = collections.namedtuple("_Storage", "dtype key")
_Tensor = collections.namedtuple("_Tensor", "storage offset shape strides")


class _Skipped:
    """Stands for an object of a class that is not built; takes anything."""

    name = "object"

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        """What the pickle says of a list is left out."""

    def extend(self, values):
        """As `append`."""

    def add(self, value):
        """As `append`, of a set."""


def _rebuild_tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, _Storage):
        raise ValueError("has a tensor without a storage")
    integers = (offset, *shape, *strides)
    if not all(type(i) is int and 0 <= i < 2**48 for i in integers):
        raise ValueError("has a tensor of impossible shape")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
    return tensor


_BUILT = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle._Unpickler):
    """Builds tensors and plain containers; imports and calls nothing else.

    The one in Python: the one in C makes room for any memo index that a
    pickle names, gigabytes for one of a few bytes.
    """

    def find_class(self, module, name):
        if (module, name) in _BUILT:
            return _BUILT[module, name]
        if module == "torch" and name in _DTYPES:
            return np.dtype(_DTYPES[name])
        return type("_Skipped", (_Skipped,), {"name": f"{module}.{name}"})

    def persistent_load(self, saved):
        if (
            not isinstance(saved, tuple)
            or len(saved) != 5
            or saved[0] != "storage"
            or not isinstance(saved[2], str)
        ):
            raise ValueError(f"has an unknown persistent object: {saved!r}")
        _, dtype, key, _, _ = saved
        if not isinstance(dtype, np.dtype):
            raise ValueError(
                f"has a storage of an unknown type: "
                f"{getattr(dtype, 'name', dtype)}"
            )
        return _Storage(dtype, key)
