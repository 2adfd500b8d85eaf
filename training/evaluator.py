"""The loop of every evaluation."""

import numpy as np
import tensorflow as tf


def evaluate(evaluator, predict, batches):
    """Counts all batches.

    Args:
        evaluator: An `Evaluator`; it is changed.
        predict: Function from inputs `(n, ...)`, as numpy arrays, to outputs.
        batches: Iterable of inputs, targets and weights.

    Returns:
        The evaluator.
    """
    for batch in batches:
        inputs, targets, weights = tf.nest.map_structure(np.asarray, batch)
        if (weights > 0).any():
            outputs = tf.nest.map_structure(np.asarray, predict(inputs))
        else:
            outputs = None
        evaluator.update(outputs, targets, weights)
    return evaluator
