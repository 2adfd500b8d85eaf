"""Measuring outputs: the interface, and the loop of every evaluation."""

import abc

import numpy as np
import tensorflow as tf


class Evaluator(abc.ABC):
    """Measures how good outputs are, one batch after the other.

    Examples:
    >>> import numpy as np
    >>> from gcvit_training import Evaluator
    >>> class Error(Evaluator):
    ...     def __init__(self):
    ...         self.errors = []
    ...     def update(self, outputs, targets, weights):
    ...         self.errors += list(np.abs(outputs - targets)[weights > 0])
    ...     def result(self):
    ...         mean = float(np.mean(self.errors))
    ...         return {"images": len(self.errors), "error": mean}
    >>> error = Error()
    >>> error.update(np.array([1.0, 2, 9]), np.zeros(3), np.array([1, 1, 0]))
    >>> error.result()
    {'images': 2, 'error': 1.5}
    """

    @abc.abstractmethod
    def update(self, outputs, targets, weights):
        """Counts a batch.

        Args:
            outputs: What `Task.predict` gave, as numpy arrays.
            targets: The batch's targets, as numpy arrays.
            weights: Array `(batch,)`: 0 for examples to leave out, else 1.
        """

    @abc.abstractmethod
    def result(self):
        """Returns what was measured.

        Returns:
            A dict that JSON can hold, in which `images` counts the examples.
        """


def check_counted(images, left_out):
    """Refuses a result of no images.

    Args:
        images: How many were counted.
        left_out: How many could not be read.

    Raises:
        ValueError: If none was counted.
    """
    if not images:
        raise ValueError(
            f"there are no images to evaluate on ({left_out} cannot be read)"
        )


def share(part, whole):
    """Divides two numbers; `None` where there is nothing to divide by."""
    return float(part / whole) if whole else None


def predict_in_graph(task, model):
    """Makes the function that `evaluate` takes, of a Keras model.

    Args:
        task: The `Task`.
        model: `keras.Model`.

    Returns:
        Function from inputs to outputs. It is traced for the first size of
        inputs, and once more for all others.
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
