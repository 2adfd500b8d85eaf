"""RoIAlign as the product of a sparse matrix and the cells, by TensorFlow."""

from keras import ops

from gcvit_keras.detection.roi_weights import cell_weights, end_cells


def sparse_products(cells, rows, columns, begin, width):
    """Multiplies the matrix of all boxes' bins and the cells of all maps.

    Args:
        cells: Float32 tensor `(cells, channels)` of all maps.
        rows: The boxes' `Bins` in the vertical direction, `(n, bins, 1)`.
        columns: The `Bins` in the horizontal direction.
        begin: Int32 tensor `(n,)`: where the cells of a box's map begin.
        width: Int32 tensor `(n,)`: cells in a row of that map.

    Returns:
        Float32 tensor `(n * bins**2, channels)`.
    """
    indices, values = _entries(
        *_bin_cells(rows), *_bin_cells(columns), begin, width
    )
    n, bins, _ = ops.shape(rows.begin)
    return _product(indices, values, n * bins**2, cells)


def _bin_cells(bins):
    """Finds the cells that each bin averages, in one direction.

    Returns the first cells, int32 `(n, bins)`, and the weights
    `(n, bins, cells)` of them and those that follow, as many as the largest bin
    has.
    """
    import tensorflow as tf

    first, last = end_cells(bins)
    # Not ops.max, which refuses to find no box.
    count = ops.cast(tf.maximum(tf.reduce_max(last - first), 0), "int32") + 1
    cells = first + ops.arange(count, dtype="float32")
    return ops.cast(first[..., 0], "int32"), cell_weights(cells, bins)


def _entries(y, row_weights, x, column_weights, begin, width):
    """Lists the entries that are not 0 of the matrix of bins and cells.

    `y` and `x`, int32 `(n, bins)`, are the first row and column of each bin's
    cells, beside weights `(n, bins, cells)`; for the others see
    `sparse_products`. Returns the indices `(entries, 2)` of bin and cell, and
    the values.
    """
    import tensorflow as tf

    # Only the entries are listed, not a rectangle that holds the largest bin:
    # a long, thin box has few, but two such boxes could make it huge.
    rows, columns = _count(row_weights), _count(column_weights)
    # (n, bins of rows, bins of columns)
    entries = rows[:, :, None] * columns[:, None, :]
    n, bins, _ = ops.shape(entries)
    first = begin[:, None] + y * width[:, None]
    place = tf.reshape(tf.range(n * bins), (n, bins))

    def flat(tensor):
        return ops.reshape(tf.broadcast_to(tensor, (n, bins, bins)), (-1,))

    entries = flat(entries)
    properties = [
        tf.range(n * bins * bins),
        tf.cumsum(entries, exclusive=True),
        flat(columns[:, None, :]),
        flat(first[:, :, None] + x[:, None, :]),
        flat(width[:, None, None]),
        flat(place[:, :, None] * ops.shape(row_weights)[2]),
        flat(place[:, None, :] * ops.shape(column_weights)[2]),
    ]
    properties = tf.repeat(tf.stack(properties, axis=1), entries, axis=0)
    bin_, before, columns, cell, width, row, column = tf.unstack(
        properties, axis=1
    )
    entry = tf.range(tf.shape(bin_)[0]) - before
    down = entry // columns
    right = entry - down * columns
    values = tf.gather(tf.reshape(row_weights, (-1,)), row + down)
    values *= tf.gather(tf.reshape(column_weights, (-1,)), column + right)
    return tf.stack([bin_, cell + down * width + right], axis=1), values


def _count(weights):
    """Counts the cells up to the last that has a weight."""
    import tensorflow as tf

    places = ops.arange(1, ops.shape(weights)[-1] + 1)
    return tf.reduce_max(ops.where(weights > 0, places, 0), axis=-1)


def _product(indices, values, rows, dense):
    """Multiplies a sparse matrix of so many rows by a dense one."""
    import tensorflow as tf

    @tf.custom_gradient
    def multiply(dense):
        shape = tf.cast(tf.stack([rows, tf.shape(dense)[0]]), "int64")

        def product(matrix, adjoint_a):
            return tf.raw_ops.SparseTensorDenseMatMul(
                a_indices=indices,
                a_values=values,
                a_shape=shape,
                b=matrix,
                adjoint_a=adjoint_a,
            )

        return product(dense, False), lambda gradient: product(gradient, True)

    return multiply(dense)
