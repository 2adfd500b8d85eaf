"""How good a classifier is on a split."""

from dataclasses import dataclass

import numpy as np

from gcvit_training.evaluator import Evaluator, check_counted, share
from gcvit_training.evaluator import evaluate as run_evaluator

BINS = 15
"""Number of the bins of the calibration error, as in its paper."""
TOP = 5
LEAST = 1e-7
"""Least probability that the loss takes a label's to be."""


@dataclass(frozen=True)
class Evaluation:
    """How good a classifier was.

    Attributes:
        images: How many were classified.
        left_out: How many could not be read.
        top1: Share whose highest score is their label's.
        top5: Share whose label is among the five highest scores; `None`
            where there are five classes or fewer.
        loss: Mean cross-entropy of the labels, in nats, without smoothing.
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
        """For each class its number, images, and measures.

        `accuracy` is the share of the class's images that are found, which is
        its recall, too; `precision` the share of images taken for the class
        that are of it; `f1` their harmonic mean. `None` where nothing is
        counted.
        """
        found = np.diag(self.confusion)
        images, taken = self.confusion.sum(1), self.confusion.sum(0)
        return [
            {
                "class": k,
                "images": int(images[k]),
                "accuracy": share(found[k], images[k]),
                "precision": share(found[k], taken[k]),
                "recall": share(found[k], images[k]),
                "f1": share(2 * found[k], images[k] + taken[k]),
            }
            for k in range(len(self.confusion))
        ]

    @property
    def macro_f1(self):
        """Mean F1 of the classes that have images."""
        return float(np.mean([c["f1"] for c in self.per_class if c["images"]]))

    def as_dict(self):
        """Everything as plain data."""
        return {
            **vars(self),
            "macro_f1": self.macro_f1,
            "per_class": self.per_class,
            "confusion": self.confusion.tolist(),
        }


class ClassificationEvaluator(Evaluator):
    """Counts what a classifier gets right.

    Args:
        classes: Number of classes.

    Examples:
    >>> import numpy as np
    >>> from gcvit_training.tasks.classification import ClassificationEvaluator
    >>> evaluator = ClassificationEvaluator(2)
    >>> scores, labels = np.array([[0.9, 0.1], [0.8, 0.2]]), np.eye(2)
    >>> evaluator.update(scores, labels, np.ones(2))
    >>> evaluator.result()["top1"]
    0.5
    """

    def __init__(self, classes):
        self.classes = classes
        self.left_out = 0
        self.confusion = np.zeros((classes, classes), "int64")
        # Of each image: its label's rank, its label's and its best score.
        self.seen = []

    def update(self, outputs, targets, weights):
        """Counts probabilities `(n, classes)` of one-hot labels."""
        kept = np.asarray(weights) > 0
        labels = np.asarray(targets)[kept]
        self.left_out += int((~kept).sum())
        if not kept.any():
            return
        scores = np.asarray(outputs, "float64")
        if scores.shape != (len(kept), self.classes):
            raise ValueError(
                f"`predict` must give scores {(len(kept), self.classes)} for "
                "a batch: as many classes as the data. Received: "
                f"{scores.shape}"
            )
        scores = scores[kept]
        # Half precision sums to one within a hundredth, over thousands of
        # classes.
        sums = scores.sum(-1)
        if not np.isfinite(scores).all() or (np.abs(sums - 1) > 0.05).any():
            raise ValueError(
                "`predict` must give probabilities, which sum to 1; a model "
                "without `classifier_activation` gives logits. Received "
                f"scores that sum to {sums[np.abs(sums - 1).argmax()]}"
            )
        truth = labels.argmax(-1)
        likelihoods = scores[np.arange(len(truth)), truth]
        # Of equal scores the first class counts, as with argmax.
        before = np.arange(self.classes) < truth[:, None]
        ahead = scores > likelihoods[:, None]
        ahead |= (scores == likelihoods[:, None]) & before
        np.add.at(self.confusion, (truth, scores.argmax(-1)), 1)
        self.seen.append((ahead.sum(-1), likelihoods, scores.max(-1)))

    def result(self):
        """Returns `Evaluation.as_dict`."""
        return self.evaluation().as_dict()

    def evaluation(self) -> Evaluation:
        """Sums up.

        Raises:
            ValueError: If there were no images.
        """
        check_counted(len(self.seen), self.left_out)
        ranks, likelihoods, confidence = map(
            np.concatenate, zip(*self.seen, strict=True)
        )
        return Evaluation(
            images=len(ranks),
            left_out=self.left_out,
            top1=float((ranks == 0).mean()),
            top5=float((ranks < TOP).mean()) if self.classes > TOP else None,
            loss=float(-np.log(np.maximum(likelihoods, LEAST)).mean()),
            calibration_error=_calibration_error(confidence, ranks == 0),
            confusion=self.confusion,
        )


def evaluate(predict, batches) -> Evaluation:
    """Evaluates anything that maps images to probabilities.

    Args:
        predict: Callable from images `(batch, height, width, 3)`, pixels in
            [0, 255], to probabilities `(batch, classes)`.
        batches: Iterable of such images, one-hot labels `(batch, classes)`,
            and weights `(batch,)`, 0 for images to leave out, as
            `evaluation_batches` gives.

    Returns:
        `Evaluation`.

    Raises:
        ValueError: If there are no images, or the scores are no
            probabilities of these classes.

    Examples:
    >>> import numpy as np
    >>> from gcvit_training.tasks.classification import evaluate
    >>> batch = np.zeros((2, 32, 32, 3)), np.eye(2), np.ones(2)
    >>> evaluate(lambda images: np.eye(2), [batch]).top1
    1.0
    """
    evaluator = None
    for images, labels, weights in batches:
        if evaluator is None:
            evaluator = ClassificationEvaluator(np.shape(labels)[-1])
        run_evaluator(evaluator, predict, [(images, labels, weights)])
    return (evaluator or ClassificationEvaluator(0)).evaluation()


def _calibration_error(confidence, hits):
    """Mean gap of confidence and accuracy over bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - hits)  # sums of each bin
    return float(np.abs(gaps).sum() / len(hits))
