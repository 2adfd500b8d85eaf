"""RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3), sampled adaptively.

A bin of the result is a weighted sum of cells of the map. The weight of a cell
is the product of one for its row and one for its column, since a bilinear
sample, and the rule for samples outside of the map, are such products too. So
the result is a sparse matrix, of RoIs' bins and cells, times the map, and its
gradient the transposed matrix times the gradient of the bins: no sample, no
window of the map, is ever copied.
"""

from keras import ops

from gcvit_keras.detection.boxes import centres_and_sizes

CANONICAL_SIZE = 56
"""Pixels of side from which a box is read from the second level."""


def roi_align(features, boxes, output_size, stride):
    """Averages a feature map within the cells of a grid in each box.

    A box is divided by the stride and moved by half a pixel ("aligned"), cut
    into `output_size`**2 bins, and each bin averages ceil(size of the bin)
    bilinear samples per direction. A sample below -1 or above the size of the
    map counts as 0. A box without area gives zeros, and so does one that is
    not finite. Computes in float32 and carries the gradient of `features`.

    Args:
        features: Tensor `(batch, height, width, channels)`.
        boxes: Tensor `(batch, n, 4)` in pixels of the input.
        output_size: Bins per direction, an integer.
        stride: Pixels of the input per cell of the map, a number.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size, channels)`.
    """
    return pyramid_roi_align([features], boxes, output_size, [stride])


def box_levels(boxes, levels=4):
    """Chooses the level that a box is read from, by its size.

    floor(log2(sqrt(width * height) / 56 + 1e-6)), clamped (Feature Pyramid
    Networks, arXiv 1612.03144, section 4.2).

    Args:
        boxes: Tensor `(..., 4)`.
        levels: How many there are, an integer.

    Returns:
        Int32 tensor `(...)`, 0 (the finest) to `levels` - 1.
    """
    _, _, width, height = centres_and_sizes(ops.cast(boxes, "float32"))
    size = ops.sqrt(width * height)
    size = ops.where(size >= 0, size, 0)  # not so: a corner is NaN
    level = ops.floor(ops.log2(size / CANONICAL_SIZE + 1e-6))
    return ops.cast(ops.clip(level, 0, levels - 1), "int32")


def pyramid_roi_align(features, boxes, output_size, strides=(4, 8, 16, 32)):
    """Reads each box from the level of its size, by `roi_align`.

    Args:
        features: List of tensors `(batch, height, width, channels)`, from
            fine to coarse.
        boxes: Tensor `(batch, n, 4)` in pixels of the input.
        output_size: Bins per direction, an integer.
        strides: Pixels of the input per cell of each map.

    Returns:
        Float32 tensor `(batch, n, output_size, output_size, channels)`.
    """
    batch, n = ops.shape(boxes)[:2]
    boxes = ops.reshape(finite_boxes(boxes), (-1, 4))

    # The maps one after the other, as rows of cells; where each box's begins.
    channels = features[0].shape[-1]
    sizes = [ops.shape(map_)[1:3] for map_ in features]
    areas = [height * width for height, width in sizes]
    begins = [sum(areas[:level]) * batch for level in range(len(areas))]
    cells = [ops.reshape(map_, (-1, channels)) for map_ in features]
    cells = ops.cast(ops.concatenate(cells), "float32")

    level = box_levels(boxes, len(features))
    height, width = (_pick(size, level) for size in zip(*sizes, strict=True))
    image = ops.repeat(ops.arange(batch), n)
    begin = _pick(begins, level) + image * height * width

    stride = _pick(strides, level, "float32")[:, None]
    corner = boxes[:, :2] / stride - 0.5
    size = boxes[:, 2:] / stride - 0.5 - corner
    rows = _bin_cells(corner[:, 1], size[:, 1], output_size, height)
    columns = _bin_cells(corner[:, 0], size[:, 0], output_size, width)
    indices, weights = _products(*rows, *columns, begin, width)
    bins = _sparse_matmul(
        indices, weights, ops.shape(boxes)[0] * output_size**2, cells
    )
    return ops.reshape(bins, (batch, n, output_size, output_size, channels))


def finite_boxes(boxes):
    """Makes boxes that are not finite boxes of zeros, all of them constants.

    Args:
        boxes: Tensor `(..., 4)`.

    Returns:
        Float32 tensor `(..., 4)`.
    """
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    finite = ops.all(ops.isfinite(boxes), axis=-1, keepdims=True)
    return ops.where(finite, boxes, 0)


def axis_weights(begin, end, bins, length):
    """Computes the weights of all cells of one direction, at a scale of 1.

    Args:
        begin: Tensor `(...)`: where the boxes begin, in pixels.
        end: Tensor `(...)`: where they end.
        bins: Bins per box, an integer.
        length: Cells of the map in this direction.

    Returns:
        Tensor `(..., bins, length)`.
    """
    start = begin - 0.5
    bin_size, samples, begins = _bins(start, end - 0.5 - start, bins)
    cells = ops.cast(ops.arange(length), "float32")
    length = ops.cast(length, "float32")
    return _cell_weights(cells, begins, bin_size, samples, length)


def _bins(start, size, bins):
    """Cuts boxes into bins, in one direction.

    Args:
        start: Tensor `(...)`: where the boxes begin, in cells.
        size: Tensor `(...)`: their size, in cells.
        bins: Bins per box, an integer.

    Returns:
        Tuple of the bins' size `(..., 1, 1)`, their samples `(..., 1, 1)`, 0
        for boxes without size, and their begins `(..., bins, 1)`.
    """
    bin_size = (size / bins)[..., None, None]
    samples = ops.maximum(ops.ceil(bin_size), 0)
    places = ops.arange(bins, dtype="float32")[:, None]
    return bin_size, samples, start[..., None, None] + places * bin_size


def _pick(values, level, dtype="int32"):
    """Gives each box the value of its level; values may be tensors."""
    values = ops.stack([ops.cast(value, dtype) for value in values])
    return ops.take(values, level)


def _bin_cells(start, size, bins, length):
    """Finds the cells of one direction that each bin averages.

    Args:
        start: Tensor `(n,)`: where the boxes begin, in cells.
        size: Tensor `(n,)`: their size, in cells.
        bins: Bins per box, an integer.
        length: Int32 tensor `(n,)`: cells of the boxes' maps.

    Returns:
        Tuple of the int32 tensor `(n, bins)` of the first cells, and weights
        `(n, bins, cells)` of them and those that follow, cells being as many
        as the largest bin has.
    """
    import tensorflow as tf

    bin_size, samples, begin = _bins(start, size, bins)
    length = ops.cast(length, "float32")[:, None, None]

    def cell_of_sample(i):
        position = begin + (i + 0.5) * bin_size / ops.maximum(samples, 1)
        position = ops.minimum(ops.maximum(position, 0), length - 1)
        return ops.floor(position)

    first = cell_of_sample(0)
    # Not ops.max, which refuses to find no box.
    count = tf.reduce_max(cell_of_sample(samples - 1) - first)
    count = ops.cast(tf.maximum(count, 0), "int32") + 2
    cells = first + ops.arange(count, dtype="float32")
    weights = _cell_weights(cells, begin, bin_size, samples, length)
    return ops.cast(first[..., 0], "int32"), weights


def _cell_weights(cells, begin, bin_size, samples, length):
    """Adds up the bilinear weights that a bin's samples give to cells.

    The samples are at begin + (i + 0.5) * bin_size / samples, i < samples. Few
    of them are less than a cell away from a cell: more than one in a bin are
    at least half a cell apart.

    Args:
        cells: Tensor `(..., cells)`: their numbers.
        begin: Tensor `(..., bins, 1)`: where the bins begin, in cells.
        bin_size: Tensor `(..., 1, 1)`, in cells.
        samples: Tensor `(..., 1, 1)`: per bin, 0 for boxes without size.
        length: Tensor `(..., 1, 1)`: cells of the map in this direction.

    Returns:
        Tensor `(..., bins, cells)`.
    """
    count = ops.maximum(samples, 1)
    step = ops.maximum(bin_size / count, 1e-6)
    before = ops.floor((cells - 1 - begin) / step - 0.5)
    before = ops.clip(before, 0, count - 1)
    weights = 0.0
    for i in range(6):
        sample = before + i
        position = begin + (sample + 0.5) * bin_size / count
        counts = (sample < samples) & (position >= -1) & (position <= length)
        position = ops.minimum(ops.maximum(position, 0), length - 1)
        weight = ops.maximum(1 - ops.abs(cells - position), 0)
        weights += ops.where(counts, weight, 0)
    weights = ops.where(cells < length, weights, 0)
    return weights / count


def _products(y, row_weights, x, column_weights, begin, width):
    """Lists the entries that are not 0 of the matrix of bins and cells.

    Args:
        y: Int32 tensor `(n, bins)`: first row of each bin's cells.
        row_weights: Tensor `(n, bins, rows)`.
        x: Int32 tensor `(n, bins)`: first column of each bin's cells.
        column_weights: Tensor `(n, bins, columns)`.
        begin: Int32 tensor `(n,)`: where the cells of a box's map begin.
        width: Int32 tensor `(n,)`: cells in a row of that map.

    Returns:
        Tuple of the indices `(entries, 2)` of bin and cell, and the values
        `(entries,)`.
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


def _sparse_matmul(indices, values, rows, dense):
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
