"""Pictures of a run."""

import csv
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gcvit_keras.files import replacing

MOST_PANELS = 4
"""Measures that are drawn, beside the learning rate."""
NAMED = 30
"""Most rows of a matrix whose names fit beside it."""


def curves(metrics, path):
    """Draws a run's measures and its learning rate over its epochs.

    Args:
        metrics: Path of `metrics.csv`.
        path: Path of the PNG.
    """
    with open(metrics, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    names = {name: None for row in rows for name in row}
    hidden = ("epoch", "learning_rate", "images_per_second")
    measures = [n for n in names if not n.startswith("val_")]
    measures += [n.removeprefix("val_") for n in names if n.startswith("val_")]
    shown = [n for n in dict.fromkeys(measures) if n not in hidden]
    # The loss first, then what is known of training and validation.
    shown.sort(key=lambda n: (n != "loss", f"val_{n}" not in names))
    panels = [(n, f"val_{n}") for n in shown[:MOST_PANELS]]
    panels.append(("learning_rate",))
    figure = Figure((4 * len(panels), 3.5), layout="constrained")
    for axes, lines in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        drawn = [name for name in lines if name in names]
        for name in drawn:
            values = [float(row.get(name) or math.nan) for row in rows]
            label = "evaluation" if name.startswith("val_") else "training"
            axes.plot(epochs, values, ".-", label=label)
        axes.set(xlabel="epoch", title=lines[0].replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(drawn) > 1:
            axes.legend()
    save(figure, path)


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
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
        axes.imshow(np.clip(image / 255, 0, 1), **grey)  # colours as they are
        axes.set_title(title, fontsize=7, wrap=True)
    save(figure, path)


def matrix_picture(matrix, names, path, **titles):
    """Draws a matrix of counts, in colours of the shares of its rows.

    Args:
        matrix: Array `(n, n)`: of each truth, row by row, what it is taken for.
        names: Names of the rows and columns.
        path: Path of the PNG.
        **titles: `xlabel`, `ylabel` and `title`, as matplotlib's axes have
            them.
    """
    matrix = np.asarray(matrix, "float64")
    shares = matrix / np.maximum(matrix.sum(-1, keepdims=True), 1)
    side = 5 + 0.25 * min(len(names), NAMED)
    figure = Figure((side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the row", shrink=0.8)
    axes.set(**titles)
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
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


def save(figure, path):
    """Writes a matplotlib figure as PNG, whole or not at all."""
    with replacing(Path(path)) as beside:
        figure.savefig(beside, dpi=120, format="png")
