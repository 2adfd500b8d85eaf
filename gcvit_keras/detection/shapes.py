"""Sizes of tensors that have to be known when a graph is made."""

import contextlib
import contextvars

import keras

_FIXED = contextvars.ContextVar("fixed_sizes", default=False)


@contextlib.contextmanager
def fixed_sizes():
    """Makes graphs within a `with` of static shapes only, as converters ask."""
    token = _FIXED.set(True)
    try:
        yield
    finally:
        _FIXED.reset(token)


def sizes_by_content():
    """Tells whether a tensor's size may follow from values: not under XLA.

    Returns:
        True in TensorFlow, eagerly or in a graph that XLA does not compile,
        outside of `fixed_sizes`.
    """
    if _FIXED.get() or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    if tf.executing_eagerly():
        return True
    graph = tf.compat.v1.get_default_graph()
    return not control_flow_util.GraphOrParentsInXlaContext(graph)
