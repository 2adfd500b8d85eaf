"""Pictures of a run."""

import csv
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gcvit_training.run_folder import RunFolder

NAMED = 30
"""Most classes whose names fit beside a matrix."""
PANELS = {
    "loss": ("loss", "val_loss"),
    "accuracy": ("accuracy", "val_accuracy"),
    "learning rate": ("learning_rate",),
}


def confusion_picture(evaluation, names, path):
    """Draws a confusion matrix, each row as shares of its class.

    Args:
        evaluation: An `Evaluation`.
        names: Names of the classes.
        path: Path of the PNG.
    """
    confusion = np.asarray(evaluation.confusion, "float64")
    shares = confusion / np.maximum(confusion.sum(-1, keepdims=True), 1)
    side = 5 + 0.25 * min(len(names), NAMED)
    figure = Figure((side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the class", shrink=0.8)
    axes.set(
        xlabel="predicted",
        ylabel="truth",
        title=f"{evaluation.images} images, top-1 {evaluation.top1:.2%}",
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
    _save(figure, path)


def curves(metrics, path):
    """Draws a run's loss, accuracy and learning rate over its epochs.

    Args:
        metrics: Path of `metrics.csv`.
        path: Path of the PNG.
    """
    with open(metrics, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure((12, 3.5), layout="constrained")
    for axes, (title, lines) in zip(
        figure.subplots(1, len(PANELS)), PANELS.items(), strict=True
    ):
        for name in lines:
            values = [float(row.get(name) or math.nan) for row in rows]
            label = "evaluation" if name.startswith("val_") else "training"
            axes.plot(epochs, values, ".-", label=label)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    _save(figure, path)


def image_grid(images, titles, path):
    """Draws images side by side.

    Args:
        images: Array `(n, height, width, 3)`, pixels in [0, 255].
        titles: A line for each.
        path: Path of the PNG.
    """
    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = Figure((1.8 * columns, 2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.imshow(np.clip(image / 255, 0, 1))
        axes.set_title(title, fontsize=7, wrap=True)
    _save(figure, path)


def _save(figure, path):
    path = Path(path)
    with RunFolder(path.parent).replacing(path.name) as beside:
        figure.savefig(beside, dpi=120, format="png")
