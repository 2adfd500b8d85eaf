"""Pictures of how good a detector is."""

import numpy as np
from matplotlib.figure import Figure

from gcvit_training.plots import save

NAMED = 25
"""Classes whose names fit at the sides of a matrix."""


def curves_picture(result, path):
    """Draws precision by recall.

    Args:
        result: As `DetectionEvaluator.result` returns.
        path: Path of the PNG.
    """
    kinds = result["curves"]
    figure = Figure((4.5 * len(kinds), 4), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, (kind, curves) in zip(panels, kinds.items(), strict=True):
        for name in ("0.50", "0.75"):
            ap = result[kind][f"ap{name[2:]}"]
            label = f"overlap {name}: AP {ap:.3f}"
            axes.plot(curves["recall"], curves[name], label=label)
        axes.set(
            xlabel="recall",
            ylabel="precision",
            title=f"{kind}: AP {result[kind]['ap']:.3f}",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def confusion_picture(result, names, path):
    """Draws which class is taken for which.

    Args:
        result: As `DetectionEvaluator.result` returns.
        names: Names of the classes.
        path: Path of the PNG.
    """
    matrix = np.asarray(result["confusion"], "float64")
    shares = matrix / np.maximum(matrix.sum(-1, keepdims=True), 1)
    side = 5 + 0.25 * min(len(matrix), NAMED)
    figure = Figure((side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the row", shrink=0.8)
    axes.set(xlabel="detected", ylabel="truth")
    if len(names) <= NAMED:
        places = range(len(matrix))
        axes.set_xticks(places, [*names, "nothing"], rotation=90)
        axes.set_yticks(places, [*names, "nothing"])
        for i, j in zip(*np.nonzero(matrix), strict=True):
            axes.text(
                j,
                i,
                f"{int(matrix[i, j])}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 0.5 else "black",
            )
    save(figure, path)
