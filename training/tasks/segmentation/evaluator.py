"""How good class maps are: overlap and accuracy of each class."""

import numpy as np

from gcvit_training.evaluator import Evaluator, check_counted, share


class SegmentationEvaluator(Evaluator):
    """Counts pixels by their class and the one that they are taken for.

    The mean overlap is of the classes that are in the label maps or in the
    predictions; the mean accuracy of those in the label maps. Both are of all
    images together, as usual for ADE20K, Cityscapes and Pascal VOC.

    Args:
        names: Names of the classes.

    Examples:
    >>> import numpy as np
    >>> from gcvit_training.tasks.segmentation import SegmentationEvaluator
    >>> evaluator = SegmentationEvaluator(["sky", "sea"])
    >>> evaluator.update(np.array([[[2, 1], [0, 1]]]), None, np.ones(1))
    >>> evaluator.result()["pixel_accuracy"]
    0.75
    """

    def __init__(self, names):
        self.names = list(names)
        self.images = self.left_out = 0
        self.confusion = np.zeros((len(names), len(names)), "int64")

    def update(self, outputs, targets, weights):
        """Counts pixels.

        Args:
            outputs: Integer array `(n, classes, classes)`: of each image, how
                many pixels of each class are taken for each.
            targets: Not used.
            weights: See `Evaluator.update`.
        """
        kept = np.asarray(weights) > 0
        self.left_out += int((~kept).sum())
        if kept.any():
            self.images += int(kept.sum())
            self.confusion += np.int64(outputs)[kept].sum(0)

    def result(self):
        """Returns measures over all classes, and of each.

        Raises:
            ValueError: If there were no images.
        """
        check_counted(self.images, self.left_out)
        if not self.confusion.any():
            raise ValueError(
                f"no pixel of the {self.images} images to evaluate on is of a "
                "class: their label maps have no other number than those that "
                "are ignored"
            )
        found = np.diag(self.confusion)
        pixels, taken = self.confusion.sum(1), self.confusion.sum(0)
        union = pixels + taken - found
        return {
            "images": self.images,
            "left_out": self.left_out,
            "miou": _mean(found, union),
            "mean_accuracy": _mean(found, pixels),
            "pixel_accuracy": share(found.sum(), pixels.sum()) or 0.0,
            "per_class": [
                {
                    "class": name,
                    "iou": share(found[k], union[k]),
                    "accuracy": share(found[k], pixels[k]),
                    "pixels": int(pixels[k]),
                }
                for k, name in enumerate(self.names)
            ],
        }


def _mean(part, whole):
    there = whole > 0
    return float((part[there] / whole[there]).mean()) if there.any() else 0.0
