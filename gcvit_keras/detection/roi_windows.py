"""RoIAlign box by box on windows of a fixed size: XLA and other backends."""

import math

from keras import ops

from gcvit_keras.detection.roi_weights import cell_weights, end_cells


def largest_window(map_size, side):
    """Computes how many cells of a map the samples of a box can touch.

    `side` is the square root of the largest area of a box, in cells.
    """
    height, width = map_size
    # A box of h x w cells touches at most (h + 3) x (w + 3), so of all boxes
    # of an area those that are as long as the map touch most.
    touched = [
        length * (side**2 / max(length - 3, 1) + 3) for length in map_size
    ]
    return math.ceil(min(height * width, max(touched)))


def window_products(cells, rows, columns, begin, width, window):
    """Multiplies, box by box, the weights and the cells of its window.

    Arguments and result are those of `sparse_products`; `window` is the number
    of cells of a window, an integer.
    """
    place = ops.arange(window)

    def span(bins):
        first, last = end_cells(bins)
        first, last = first[0, 0], last[-1, 0]
        return ops.cast(first, "int32"), ops.cast(last - first, "int32") + 1

    def align(box):
        rows, columns, begin, width = box
        top, rows_of_window = span(rows)
        left, columns_of_window = span(columns)
        y = place // columns_of_window
        x = place % columns_of_window + left
        inside = y < rows_of_window
        y = y + top
        down = cell_weights(ops.cast(y, "float32"), rows)
        right = cell_weights(ops.cast(x, "float32"), columns)
        down = ops.where(inside, down, 0)
        weights = down[:, None] * right[None]  # (bins, bins, window)
        cell = ops.where(inside, begin + y * width + x, 0)
        window_of_map = ops.take(cells, cell, axis=0)  # (window, channels)
        return ops.matmul(ops.reshape(weights, (-1, window)), window_of_map)

    return ops.map(align, (rows, columns, begin, width))
