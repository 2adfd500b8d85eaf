"""Files of `torch.save`, read without PyTorch and without trusting them.

Since PyTorch 1.6 they are zip archives: a pickle of everything, and one
member per storage, where the numbers are. Before, they were several pickles
and the storages one after another. A pickle can call anything that it names;
here it can name only what tensors and plain containers are made of.
Everything else in it (an optimizer's state, an argparse namespace) becomes an
inert `Skipped`.
"""

import collections
import functools
import io
import math
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np

from gcvit_keras.weights.tensors import (
    FileRegion,
    LazyTensor,
    cannot_be_read,
)

MAX_PICKLE = 64 * 2**20
"""Bytes of a pickle that are read at most; it names tensors, no more."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_STORAGES = {
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
    "UntypedStorage": np.uint8,
}
# What torch saves in untyped storages, as it has no storage class for them.
_UNTYPED = {
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
}


def read_torch_file(path):
    """Reads what `torch.save` wrote, but for the numbers.

    Returns the object that was saved, of dicts, lists and plain values, with a
    `LazyTensor` for each tensor and a `Skipped` for each object of another
    class. Raises a `ValueError` if the file is missing, damaged, not of
    `torch.save`, or has a tensor that is larger than its storage.
    """
    try:
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            return (_read_zip if is_zip else _read_legacy)(path, file)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} cannot be read as a zip archive of torch.save: {error}"
        ) from None
    except OSError as error:
        raise cannot_be_read(path, error) from None


def _read_zip(path, file):
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.endswith("data.pkl")]
        if "config.json" in members and "model.weights.h5" in members:
            raise ValueError(
                "is a whole Keras model: keras.models.load_model reads it"
            )
        if len(pickles) != 1:
            raise ValueError("is a zip archive, but not one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        _check_members(members, os.path.getsize(path))
        if members[pickles[0]].file_size > MAX_PICKLE:
            raise ValueError(f"has a pickle of over {MAX_PICKLE} bytes")
        content = archive.read(pickles[0])
        order = folder + "byteorder"
        if order in members and archive.read(order) != b"little":
            raise ValueError("was written on a big-endian machine")

    @functools.cache  # tensors may share a storage, of which a CRC is enough
    def storage(key, _):
        name = f"{folder}data/{key}"
        if name not in members:
            raise ValueError(f"has no storage {name}")
        info = members[name]
        # The header before a member has a length of its own.
        file.seek(info.header_offset + 26)
        lengths = struct.unpack("<HH", file.read(4))
        start = info.header_offset + 30 + sum(lengths)
        return FileRegion(path, start, info.file_size, info.CRC, name)

    return _Unpickler(io.BytesIO(content), storage).load_whole()


def _check_members(members, size):
    for info in members.values():
        # torch.save stores without compressing; what is compressed could
        # unpack to any size.
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"holds {info.filename} compressed")
    if sum(info.file_size for info in members.values()) > size:
        raise ValueError("claims to hold more than its own size")


def _read_legacy(path, file):
    size = os.path.getsize(path)
    pickles = io.BytesIO(file.read(MAX_PICKLE))
    regions = {}

    def storage(key, nbytes):
        region = FileRegion(path, None, nbytes, name=f"storage {key}")
        return regions.setdefault(key, region)

    def load():
        return _Unpickler(pickles, storage).load_whole()

    if load() != _LEGACY_MAGIC:
        raise ValueError("is a pickle, but not one of torch.save")
    version, system = load(), load()
    if version != 1001 or not isinstance(system, dict):
        raise ValueError(f"is of an unknown version of torch.save: {version}")
    if not system.get("little_endian", True):
        raise ValueError("was written on a big-endian machine")
    tree, keys = load(), load()
    # Each storage after the pickles is its number of elements, then these.
    position = pickles.tell()
    for key in keys:
        if key not in regions:
            raise ValueError(f"has a storage {key} of no tensor")
        regions[key].start = position + 8
        position += 8 + regions[key].size
    if position > size or any(r.start is None for r in regions.values()):
        raise ValueError("is cut off: not all of its storages are there")
    return tree


class Skipped:
    """Stands for an object of a class that is not built; takes anything."""

    name = "object"

    def __init__(self, *args, **kwargs):
        """Leaves out what the pickle makes it of, or gives it later."""

    __setstate__ = __setitem__ = append = extend = add = __init__


_Storage = collections.namedtuple("_Storage", "dtype region")


def _rebuild_tensor(storage, offset, shape, strides, *_, dtype=None):
    """Makes a tensor; shape and strides are claims, storages have an end."""
    if not isinstance(storage, _Storage):
        raise ValueError("has a tensor without a storage")
    name = storage.region.name
    integers = (offset, *shape, *strides)
    if not all(type(i) is int and 0 <= i < 2**48 for i in integers):
        raise ValueError(f"has a tensor of impossible shape in {name}")
    if len(shape) != len(strides) or len(shape) > 32:
        raise ValueError(f"has a tensor of impossible strides in {name}")
    dtype = dtype or storage.dtype
    elements, rest = divmod(storage.region.size, dtype.itemsize)
    if rest:
        raise ValueError(f"has a storage {name} that ends in mid-number")
    last = offset + sum(
        (n - 1) * s for n, s in zip(shape, strides, strict=True)
    )
    # Elements may be shared, as in expanded tensors, but not multiplied
    # without bound.
    if 0 not in shape and (last >= elements or math.prod(shape) > elements):
        raise ValueError(f"has a tensor larger than its storage: {name}")
    start = offset * dtype.itemsize
    return LazyTensor(
        storage.region, dtype, start, tuple(shape), tuple(strides)
    )


def _rebuild_tensor_with_dtype(
    storage, offset, shape, strides, requires_grad, hooks, dtype, *_
):
    if not isinstance(dtype, np.dtype):
        raise ValueError(f"has a tensor of an unknown type: {_name(dtype)}")
    return _rebuild_tensor(storage, offset, shape, strides, dtype=dtype)


def _rebuild_parameter(tensor, *_):
    return tensor


_BUILT = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_with_dtype,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}


class _Unpickler(pickle._Unpickler):
    """Builds tensors and plain containers; imports and calls nothing else.

    The one in Python: the one in C makes room for any memo index that a
    pickle names, gigabytes for one of a few bytes.

    Args:
        file: Binary file of the pickle.
        storage: Function from a storage's key and claimed bytes to its
            `FileRegion`.
    """

    def __init__(self, file, storage):
        super().__init__(file)
        self._storage = storage

    def load_whole(self):
        """Loads one pickle; a damaged one raises `ValueError`, too."""
        try:
            return self.load()
        except ValueError:
            raise
        except Exception as error:  # of many kinds
            raise ValueError(f"has a damaged pickle: {error!r}") from None

    def find_class(self, module, name):
        if (module, name) in _BUILT:
            return _BUILT[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        if module == "torch" and name in _UNTYPED:
            return np.dtype(_UNTYPED[name])
        return type("Skipped", (Skipped,), {"name": f"{module}.{name}"})

    def persistent_load(self, saved):
        # Before zip archives there was a sixth: storages that are views.
        match saved:
            case ("storage", dtype, str(key), _, int(count), *view) if not any(
                view
            ):
                pass
            case _:
                raise ValueError(f"has an unknown persistent object: {saved!r}")
        if not isinstance(dtype, np.dtype):
            raise ValueError(
                f"has a storage of an unknown type: {_name(dtype)}"
            )
        return _Storage(dtype, self._storage(key, count * dtype.itemsize))


def _name(value):
    return getattr(value, "name", value)
