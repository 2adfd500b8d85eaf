"""Averages over the chosen rows of a batch, as a value per image."""

from keras import ops

from gcvit_keras.layers.replicas import sum_over_replicas


def per_image(values, chosen, number):
    """Computes values per image whose mean is the batch's average.

    Args:
        values: Float tensor `(batch, n)`.
        chosen: Boolean tensor `(batch, n)`: which values count.
        number: Float tensor `(batch,)`: each image's part of the divisor, which
            is the sum of all.

    Returns:
        Float32 tensor `(batch,)`: each image's sum * batch / sum(number), so
        that the mean over the batch is the sum of all values / sum(number). 0
        where nothing is chosen. Of several replicas the batch is that of all
        together, so that their losses are those of one.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.detection.average import per_image
    >>> values = np.array([[1.0, 2.0], [4.0, 8.0]], "float32")
    >>> chosen = np.array([[True, True], [True, False]])
    >>> per_image(values, chosen, np.array([2.0, 1.0], "float32")).numpy()
    array([2.        , 2.6666667], dtype=float32)
    """
    sums = ops.sum(ops.where(chosen, ops.cast(values, "float32"), 0), axis=1)
    totals = ops.stack(
        [ops.sum(ops.ones_like(sums)), ops.sum(ops.cast(number, "float32"))]
    )
    batch, number = ops.unstack(sum_over_replicas(totals))
    return sums * (batch / ops.maximum(number, 1))


def count_rows(chosen):
    """Counts each image's chosen rows: `(batch, n)` to floats `(batch,)`."""
    return ops.sum(ops.cast(chosen, "float32"), axis=1)
