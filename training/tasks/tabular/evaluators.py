"""How good labels and numbers are on a split."""

import numpy as np
from sklearn.metrics import average_precision_score

from gcvit_training.evaluator import Evaluator, check_counted

LEAST = 1e-7
"""Least probability that the loss takes a truth to have."""


class Collected(Evaluator):
    """Collects outputs and truths.

    Args:
        names: Names of the outputs.
    """

    def __init__(self, names):
        self.names = list(names)
        self.left_out = 0
        self.outputs, self.truths = [], []

    def update(self, outputs, targets, weights):
        """Keeps outputs `(n, names)` and targets of the same shape."""
        kept = weights > 0
        self.left_out += int((~kept).sum())
        if kept.any():
            self.outputs.append(np.float64(outputs[kept]))
            self.truths.append(np.float64(targets[kept]))

    def collected(self):
        """Returns all outputs and truths, `(images, names)`.

        Raises:
            ValueError: If there are none.
        """
        check_counted(len(self.outputs), self.left_out)
        return np.concatenate(self.outputs), np.concatenate(self.truths)


class LabelEvaluator(Collected):
    """Measures probabilities of labels, of which any number may apply."""

    def result(self):
        """Returns the mean over labels, and each label's measures.

        `average_precision` is the area under precision over recall, `None`
        for a label that no image has or all have; `f1` that of scores of at
        least a half.
        """
        scores, truths = self.collected()
        likely = np.where(truths > 0.5, scores, 1 - scores)
        labels = []
        for k, name in enumerate(self.names):
            truth, taken = truths[:, k] > 0.5, scores[:, k] >= 0.5
            either = truth.sum() + taken.sum()
            some = 0 < truth.sum() < len(truth)
            labels.append(
                {
                    "label": name,
                    "images": int(truth.sum()),
                    "f1": float(2 * (truth & taken).sum() / max(either, 1)),
                    "average_precision": float(
                        average_precision_score(truth, scores[:, k])
                    )
                    if some
                    else None,
                }
            )
        known = [one for one in labels if one["average_precision"] is not None]
        return {
            "images": len(scores),
            "left_out": self.left_out,
            "loss": float(-np.log(np.maximum(likely, LEAST)).mean()),
            "mean_average_precision": float(
                np.mean([one["average_precision"] for one in known])
            )
            if known
            else 0.0,
            "macro_f1": float(np.mean([one["f1"] for one in labels])),
            "per_label": labels,
        }


class NumberEvaluator(Collected):
    """Measures numbers.

    Args:
        names: Names of the outputs.
        scales: Standard deviation of each in training, array `(names,)`.
    """

    def __init__(self, names, scales):
        super().__init__(names)
        self.scales = scales

    def result(self):
        """Returns the mean over outputs, and each output's measures.

        `loss` is the squared error in units of the training split's standard
        deviation, `r2` the share of the variance that is explained.
        """
        outputs, truths = self.collected()
        errors = outputs - truths
        variances = ((truths - truths.mean(0)) ** 2).mean(0)
        squares = (errors**2).mean(0)
        r2 = 1 - squares / np.maximum(variances, 1e-12)
        return {
            "images": len(outputs),
            "left_out": self.left_out,
            "loss": float(((errors / self.scales) ** 2).mean()),
            "r2": float(r2.mean()),
            "per_number": [
                {
                    "number": name,
                    "mean_absolute_error": float(np.abs(errors[:, k]).mean()),
                    "root_mean_squared_error": float(squares[k] ** 0.5),
                    "r2": float(r2[k]),
                }
                for k, name in enumerate(self.names)
            ],
        }
