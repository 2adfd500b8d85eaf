"""Files of safetensors, and the indexes of checkpoints in several files.

The package `safetensors` checks the header, in JSON. The numbers are read here:
the package keeps every page that was read in the process's memory, and reads
no 8-bit floats for numpy.
"""

import json
import os

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from gcvit_keras.weights.tensors import (
    FileRegion,
    LazyTensor,
    cannot_be_read,
)

MAX_INDEX = 100 * 2**20
"""Bytes of an index that are read at most."""

_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "U16": np.uint16,
    "I16": np.int16,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "U32": np.uint32,
    "I32": np.int32,
    "F32": np.float32,
    "U64": np.uint64,
    "I64": np.int64,
    "F64": np.float64,
}


def read_safetensors(path):
    """Reads a `.safetensors` file but for the numbers: key to `LazyTensor`.

    Raises a `ValueError` if it is missing, damaged, or has a tensor of a type
    that numpy does not have.
    """
    try:
        with open(path, "rb") as file, safe_open(path, "np"):
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
            size = os.path.getsize(path) - 8 - length
    except OSError as error:
        raise cannot_be_read(path, error) from None
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged, or no safetensors file: {error}"
        ) from None
    region = FileRegion(path, 8 + length, size)
    header.pop("__metadata__", None)
    tensors = {}
    for key, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise ValueError(
                f"{path}: {key} is of type {entry['dtype']}, which is not read"
            )
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        start, shape = entry["data_offsets"][0], tuple(entry["shape"])
        tensors[key] = LazyTensor(region, dtype, start, shape)
    return tensors


def read_index(path, read_shard):
    """Reads a checkpoint of several files by its index: key to `LazyTensor`.

    `read_shard` reads the path of one of the files beside the index. Raises a
    `ValueError` if that is damaged, or a file or tensor missing.
    """
    try:
        with open(path, "rb") as file:
            places = json.loads(file.read(MAX_INDEX))["weight_map"]
        names = sorted(set(places.values()))
    except OSError as error:
        raise cannot_be_read(path, error) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{path} is JSON, but no index of a checkpoint in several files: "
            "that has a `weight_map` from tensor to file"
        ) from None
    if any(not isinstance(n, str) or n != os.path.basename(n) for n in names):
        raise ValueError(f"{path} names files that are not beside it")
    shards = {
        name: read_shard(os.path.join(os.path.dirname(path), name))
        for name in names
    }
    for key, name in places.items():
        if key not in shards[name]:
            raise ValueError(f"{path} names {key} in {name}, which has it not")
    return {key: shards[name][key] for key, name in places.items()}
