"""The loop of every evaluation."""

import numpy as np
import tensorflow as tf


def predict_in_graph(task, model):
    """Makes the function that `evaluate` takes, of a Keras model.

    Args:
        task: The `Task`.
        model: `keras.Model`.

    Returns:
        Function from inputs to outputs; inputs of another size are traced
        once more, and then as of any.
    """
    return tf.function(
        lambda inputs: task.predict(model, inputs), reduce_retracing=True
    )


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
