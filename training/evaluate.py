"""How good a model is on a split."""

import numpy as np


def evaluate(predict, batches) -> float:
    """Top-1 accuracy of anything that maps images to scores.

    Args:
        predict: Callable from images `(batch, height, width, 3)`, pixels in
            [0, 255], to scores `(batch, classes)`.
        batches: Iterable of such images and one-hot labels
            `(batch, classes)`, as `training.data.evaluation_batches` gives.

    Returns:
        Share of images whose highest score is their label's, in [0, 1].
    """
    hits = [
        np.argmax(predict(np.asarray(images)), -1) == np.argmax(labels, -1)
        for images, labels in batches
    ]
    return float(np.concatenate(hits).mean())
