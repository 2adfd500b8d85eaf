"""Sums over the replicas that train one model together."""

import keras


def sum_over_replicas(x):
    """Sums a tensor over all replicas of a TensorFlow strategy.

    It has the same shape on every replica, and stays as it is outside of a
    strategy and with other backends.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    replicas = tf.distribute.get_replica_context()
    if replicas is None or replicas.num_replicas_in_sync == 1:
        return x
    return replicas.all_reduce(tf.distribute.ReduceOp.SUM, x)
