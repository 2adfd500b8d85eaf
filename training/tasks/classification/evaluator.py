"""How good a classifier is on a split."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix

BINS = 15
"""Of the calibration error, as in its paper."""
TOP = 5


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        images: How many were classified.
        left_out: How many could not be read.
        top1: Share whose highest score is their label's.
        top5: Share whose label is among the five highest scores; `None`
            where there are five classes or fewer.
        loss: Mean cross-entropy of the labels, in nats.
        calibration_error: Expected calibration error, in [0, 1]
            (arXiv 1706.04599, equation 3), in 15 bins.
        confusion: Integer array `(classes, classes)`: how many images of the
            class of the row were taken for that of the column.
    """

    images: int
    left_out: int
    top1: float
    top5: float | None
    loss: float
    calibration_error: float
    confusion: np.ndarray

    @property
    def per_class(self):
        """For each class its number, images, and accuracy or `None`."""
        return [
            {
                "class": k,
                "images": int(row.sum()),
                "accuracy": float(row[k] / row.sum()) if row.sum() else None,
            }
            for k, row in enumerate(self.confusion)
        ]

    def as_dict(self):
        """Everything as plain data."""
        return {
            "images": self.images,
            "left_out": self.left_out,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "calibration_error": self.calibration_error,
            "per_class": self.per_class,
            "confusion": self.confusion.tolist(),
        }


def evaluate(predict, batches) -> Evaluation:
    """Evaluates anything that maps images to probabilities.

    Args:
        predict: Callable from images `(batch, height, width, 3)`, pixels in
            [0, 255], to probabilities `(batch, classes)`.
        batches: Iterable of such images, one-hot labels `(batch, classes)`,
            and weights `(batch,)`, 0 for images to leave out, as
            `gcvit_training.data.evaluation_batches` gives.

    Returns:
        `Evaluation`.

    Raises:
        ValueError: If there are no images, or the scores are no
            probabilities of these classes.
    """
    scores, truth, left_out = [], [], 0
    for images, labels, weights in batches:
        kept = np.asarray(weights) > 0
        labels = np.asarray(labels)[kept]
        left_out += int((~kept).sum())
        if not kept.any():
            continue
        found = np.asarray(predict(np.asarray(images)[kept]), "float64")
        if found.shape != labels.shape:
            raise ValueError(
                f"`predict` must give scores {labels.shape} for a batch: as "
                f"many classes as the data. Received: {found.shape}"
            )
        scores.append(found)
        truth.append(labels.argmax(-1))
    if not scores:
        raise ValueError(
            f"there are no images to evaluate on ({left_out} cannot be read)"
        )
    scores, truth = np.concatenate(scores), np.concatenate(truth)
    # Half precision sums to one within a hundredth, over thousands of classes.
    sums = scores.sum(-1)
    if not np.isfinite(scores).all() or (np.abs(sums - 1) > 0.05).any():
        raise ValueError(
            "`predict` must give probabilities, which sum to 1; a model "
            "without `classifier_activation` gives logits. Received scores "
            f"that sum to {sums[np.abs(sums - 1).argmax()]}"
        )
    classes = scores.shape[1]
    # Of equal scores the first class counts, as with argmax.
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :TOP]
    hits = order == truth[:, None]
    likelihoods = scores[np.arange(len(truth)), truth]
    return Evaluation(
        images=len(truth),
        left_out=left_out,
        top1=float(hits[:, 0].mean()),
        top5=float(hits.any(-1).mean()) if classes > TOP else None,
        loss=float(-np.log(np.maximum(likelihoods, 1e-7)).mean()),
        calibration_error=_calibration_error(scores.max(-1), hits[:, 0]),
        confusion=confusion_matrix(
            truth, order[:, 0], labels=np.arange(classes)
        ),
    )


def _calibration_error(confidence, hits):
    """Mean gap of confidence and accuracy over bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = 0.0
    for k in range(BINS):
        here = bins == k
        if here.any():
            gap = abs(confidence[here].mean() - hits[here].mean())
            error += here.mean() * gap
    return float(error)
