"""Pictures of a classifier."""

import numpy as np
from matplotlib.figure import Figure

from gcvit_training.plots import save

NAMED = 30
"""Most classes whose names fit beside a matrix."""


def confusion_picture(result, names, path):
    """Draws a confusion matrix, each row as shares of its class.

    Args:
        result: As `ClassificationEvaluator.result` returns.
        names: Names of the classes.
        path: Path of the PNG.
    """
    confusion = np.asarray(result["confusion"], "float64")
    shares = confusion / np.maximum(confusion.sum(-1, keepdims=True), 1)
    side = 5 + 0.25 * min(len(names), NAMED)
    figure = Figure((side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the class", shrink=0.8)
    axes.set(
        xlabel="predicted",
        ylabel="truth",
        title=f"{result['images']} images, top-1 {result['top1']:.2%}",
    )
    if len(names) <= NAMED:
        places = range(len(names))
        axes.set_xticks(places, names, rotation=90)
        axes.set_yticks(places, names)
        for i, j in zip(*np.nonzero(confusion), strict=True):
            axes.text(
                j,
                i,
                f"{int(confusion[i, j])}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 0.5 else "black",
            )
    save(figure, path)
