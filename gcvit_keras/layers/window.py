"""Windows of a feature map, and positions within one.

Every reshape and transpose stays at rank 6 or below: LiteRT has none above.
"""

import numpy as np
from keras import ops


def pad_to_windows(x, window_size):
    """Pads a feature map with zeros, right and below, to whole windows.

    Args:
        x: Tensor `(batch, height, width, channels)`.
        window_size: Side of a window, an integer.

    Returns:
        Tensor `(batch, H, W, channels)`, H and W being the next multiples of
        `window_size`; `x` itself where nothing is missing.
    """
    height, width = ops.shape(x)[1:3]
    below, right = -height % window_size, -width % window_size
    if _is_zero(below) and _is_zero(right):
        return x
    return ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))


def partition_windows(x, window_size, heads):
    """Cuts a feature map into windows, and its channels into heads.

    Args:
        x: Tensor `(batch, height, width, heads * c)`, height and width
            multiples of `window_size`.
        window_size: Side of a window, an integer.
        heads: How many parts the channels are cut into.

    Returns:
        Tensor `(heads, batch * windows, window_size**2, c)`; the windows of
        one image are consecutive, row by row.
    """
    _, _, width, channels = ops.shape(x)
    w, c = window_size, channels // heads
    x = ops.reshape(x, (-1, w, width // w, w, heads, c))
    x = ops.transpose(x, (4, 0, 2, 1, 3, 5))
    return ops.reshape(x, (heads, -1, w * w, c))


def merge_windows(windows, window_size, height, width):
    """Puts windows and heads together; the inverse of `partition_windows`.

    Args:
        windows: Tensor `(heads, batch * windows, window_size**2, c)`.
        window_size: Side of a window, an integer.
        height: Height of the whole map, a multiple of `window_size`.
        width: Width of the whole map, a multiple of `window_size`.

    Returns:
        Tensor `(batch, height, width, heads * c)`.
    """
    heads, _, _, c = windows.shape
    w = window_size
    x = ops.reshape(windows, (heads, -1, width // w, w, w, c))
    x = ops.transpose(x, (1, 3, 2, 4, 0, 5))
    return ops.reshape(x, (-1, height, width, heads * c))


def relative_position_index(window_size):
    """Row of the bias table for every (query, key) pair of a window.

    The offset (dy, dx) = query - key, each in [-(w-1), w-1], is row
    (dy + w - 1) * (2w - 1) + dx + w - 1, as in Swin (arXiv 2103.14030).

    Args:
        window_size: Side of a window, an integer w.

    Returns:
        Int32 numpy array `(w**2, w**2)` of values below `(2 * w - 1)**2`.
    """
    y, x = np.divmod(np.arange(window_size**2), window_size)
    dy = y[:, None] - y[None, :] + window_size - 1
    dx = x[:, None] - x[None, :] + window_size - 1
    return (dy * (2 * window_size - 1) + dx).astype("int32")


def _is_zero(size):
    return isinstance(size, int) and size == 0
