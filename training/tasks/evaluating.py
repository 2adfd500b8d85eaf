"""What measures a task's outputs."""

import abc


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
