"""Sums over the replicas that train one model together."""

import keras


def sum_over_replicas(x):
    """Sums a tensor over all replicas of a TensorFlow strategy.

    Args:
        x: Tensor, the same shape on every replica.

    Returns:
        The sum; `x` itself outside of a strategy, and with other backends.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    replicas = tf.distribute.get_replica_context()
    if replicas is None or replicas.num_replicas_in_sync == 1:
        return x
    return replicas.all_reduce(tf.distribute.ReduceOp.SUM, x)
