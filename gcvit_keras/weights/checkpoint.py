"""Reads checkpoint files into numpy arrays."""

import os

import ml_dtypes  # noqa: F401  gives numpy the bfloat16 of some checkpoints
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from gcvit_keras.weights.torch_file import read_torch_file


def read_checkpoint(path):
    """Reads every tensor of a checkpoint.

    Args:
        path: Path of a `.safetensors`, `.pth` or `.pth.tar` file.

    Returns:
        Dict of key to numpy array.

    Raises:
        ValueError: If the file is missing, damaged, or holds a type of number
            that numpy does not know.
    """
    if not os.fspath(path).endswith(".safetensors"):
        return read_torch_file(path)
    return _read(path, load_file)


def read_shapes(path):
    """Reads the shape of every tensor, not the tensors.

    Args:
        path: Path of a `.safetensors`, `.pth` or `.pth.tar` file.

    Returns:
        Dict of key to shape, a tuple.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    if not os.fspath(path).endswith(".safetensors"):
        return {key: a.shape for key, a in read_torch_file(path).items()}

    def read(path):
        with safe_open(path, "np") as file:
            return {
                key: tuple(file.get_slice(key).get_shape())
                for key in file.keys()  # noqa: SIM118  not a dict
            }

    return _read(path, read)


def _read(path, read):
    path = os.fspath(path)
    try:
        return read(path)
    except (OSError, SafetensorError, TypeError, AttributeError) as error:
        # The last two are what safetensors raises for an unknown type.
        raise ValueError(f"{path} cannot be read: {error}") from error
