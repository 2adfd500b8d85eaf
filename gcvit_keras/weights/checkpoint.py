"""Reads checkpoint files into numpy arrays."""

import os

from safetensors import SafetensorError
from safetensors.numpy import load_file


def read_checkpoint(path):
    """Reads every tensor of a checkpoint.

    Args:
        path: Path of a `.safetensors` file.

    Returns:
        Dict of key to numpy array.

    Raises:
        ValueError: If the file is missing, of another format or damaged.
    """
    path = os.fspath(path)
    if not path.endswith(".safetensors"):
        raise ValueError(f"{path} must end in .safetensors")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
