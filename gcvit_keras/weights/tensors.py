"""Tensors that stay in their file until they are asked for."""

import math
import os
import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)
class FileRegion:
    """Bytes of a file, such as one storage of `torch.save`.

    Attributes:
        path: Path of the file.
        start: Where the region begins, in bytes; `None` if not known yet.
        size: Its length in bytes.
        crc: CRC-32 that it must have, compared before the first read and
            `None` from then on, or where the format has none.
        name: What a message calls the region.
    """

    path: str
    start: int | None
    size: int
    crc: int | None = None
    name: str = "the file"

    def read(self, offset, size):
        """Reads so many bytes from an offset in the region on, as `uint8`.

        Raises a `ValueError` if the file cannot be read, is shorter than it
        was, or the region's CRC differs.
        """
        try:
            with open(self.path, "rb") as file:
                if self.crc is not None:
                    self._check(file)
                file.seek(self.start + offset)
                part = np.fromfile(file, np.uint8, size)
        except OSError as error:
            raise cannot_be_read(self.path, error) from None
        if part.size < size:
            raise ValueError(f"{self.path} ends in the middle of {self.name}")
        return part

    def _check(self, file):
        file.seek(self.start)
        crc, left = 0, self.size
        while left and (chunk := file.read(min(left, 2**20))):
            crc, left = zlib.crc32(chunk, crc), left - len(chunk)
        if left or crc != self.crc:
            raise ValueError(
                f"{self.path} is damaged: {self.name} has another CRC than "
                "was written"
            )
        self.crc = None


@dataclass(frozen=True)
class LazyTensor:
    """A tensor of a checkpoint file; `np.asarray` reads it.

    Attributes:
        region: `FileRegion` that holds its numbers.
        dtype: Their `np.dtype`.
        start: Where the first number lies in the region, in bytes.
        shape: The tensor's shape, a tuple.
        strides: Numbers from one to the next along each axis; `None` for a
            contiguous tensor.
    """

    region: FileRegion
    dtype: np.dtype
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None

    def __array__(self, dtype=None, copy=None):
        """Reads the tensor, as numpy's protocol asks."""
        if 0 in self.shape:
            return np.zeros(self.shape, dtype or self.dtype)
        count = math.prod(self.shape)
        if self.strides is not None:
            pairs = zip(self.shape, self.strides, strict=True)
            count = 1 + sum((n - 1) * s for n, s in pairs)
        size = self.dtype.itemsize
        array = self.region.read(self.start, count * size).view(f"u{size}")
        if self.strides is None:
            array = array.reshape(self.shape)
        else:
            strides = [s * size for s in self.strides]
            array = np.lib.stride_tricks.as_strided(array, self.shape, strides)
        array = array.view(self.dtype)  # which numpy itself may not know
        return array if dtype is None else array.astype(dtype)


def cannot_be_read(path, error) -> ValueError:
    """Makes the error of a file that an `OSError` keeps from being read."""
    return ValueError(f"{os.fspath(path)} cannot be read: {error.strerror}")
