"""Windows of a feature map, and positions within one.

Every reshape and transpose stays at rank 6 or below: LiteRT has none above.
"""

import numpy as np
from keras import ops


def pad_to_windows(x, window):
    """Pads a feature map with zeros, right and below, to whole windows.

    Height and width of `(batch, height, width, channels)` become the next
    multiples of the window's; the map itself is returned where nothing is
    missing.
    """
    height, width = ops.shape(x)[1:3]
    below, right = -height % window[0], -width % window[1]
    if _is_zero(below) and _is_zero(right):
        return x
    return ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))


def partition_windows(x, window, heads):
    """Cuts a feature map into windows, and its channels into heads.

    Args:
        x: Tensor `(batch, height, width, heads * c)`, height and width
            multiples of the window's.
        window: `(h, w)` of a window.
        heads: Number of parts that the channels are cut into.

    Returns:
        Tensor `(heads, batch * windows, h * w, c)`; the windows of one image
        are consecutive, row by row.
    """
    _, _, width, channels = ops.shape(x)
    (h, w), c = window, channels // heads
    x = ops.reshape(x, (-1, h, width // w, w, heads, c))
    x = ops.transpose(x, (4, 0, 2, 1, 3, 5))
    return ops.reshape(x, (heads, -1, h * w, c))


def merge_windows(windows, window, height, width):
    """Puts windows and heads together; the inverse of `partition_windows`.

    Args:
        windows: Tensor `(heads, batch * windows, h * w, c)`.
        window: `(h, w)` of a window.
        height: Height of the whole map, a multiple of h.
        width: Width of the whole map, a multiple of w.

    Returns:
        Tensor `(batch, height, width, heads * c)`.
    """
    heads, _, _, c = windows.shape
    h, w = window
    x = ops.reshape(windows, (heads, -1, width // w, h, w, c))
    x = ops.transpose(x, (1, 3, 2, 4, 0, 5))
    return ops.reshape(x, (-1, height, width, heads * c))


def relative_position_index(window):
    """Computes the bias table's row of every (query, key) of a window.

    The offset (dy, dx) = query - key, dy in [-(h-1), h-1] and dx in
    [-(w-1), w-1], is row (dy + h - 1) * (2w - 1) + dx + w - 1, as in Swin
    (arXiv 2103.14030).

    Args:
        window: `(h, w)` of a window.

    Returns:
        Int32 numpy array `(h * w, h * w)`, below `(2h - 1) * (2w - 1)`.
    """
    h, w = window
    y, x = np.divmod(np.arange(h * w), w)
    dy = y[:, None] - y[None, :] + h - 1
    dx = x[:, None] - x[None, :] + w - 1
    return (dy * (2 * w - 1) + dx).astype("int32")


def _is_zero(size):
    return isinstance(size, int) and size == 0
