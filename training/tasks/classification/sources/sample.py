"""A few examples of a source."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Sample:
    """A few examples of another source, spread evenly over each split.

    In the order of a split, which often is that of the classes.

    Attributes:
        source: The other source.
        count: Examples of a split, at most.
    """

    source: object
    count: int

    def size(self, split):
        """Number of examples of a split."""
        return min(self.source.size(split), self.count)

    def examples(self, split):
        """The sample, in the order of its source; the rest is not decoded."""
        size, last = self.size(split), self.source.size(split) - 1
        wanted = np.arange(size) * last // max(size - 1, 1)
        examples = self.source.examples(split).enumerate()
        return (
            examples.filter(lambda i, _: tf.reduce_any(i == wanted))
            .map(lambda _, example: example)
            .take(size)
        )

    def __getattr__(self, name):
        """All else, such as `load` and `names`, is the other source's."""
        return getattr(self.source, name)
