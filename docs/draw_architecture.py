"""Draws docs/images/architecture.svg from a model of this library.

    python docs/draw_architecture.py

Names, shapes and what leads to what are those of `GCViTXXTiny`.
"""

from pathlib import Path

import matplotlib
import matplotlib.patches
from matplotlib.figure import Figure

OUT = Path(__file__).parent / "images" / "architecture.svg"
LOCAL, GLOBAL = "#cfe3f7", "#e0cdf0"
KINDS = {
    "GlobalQueryGenerator": "#f7dfb8",
    "Downsample": "#d9ecd0",
    "Stem": "#d9ecd0",
}
OTHER = "#ececec"
STEP, WIDTH, LEFT = 1.0, 3.0, 3.6


def main():
    """Writes the picture."""
    import gcvit_keras

    model = gcvit_keras.GCViTXXTiny(weights=None)
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "architecture"
    figure = draw(model)
    figure.savefig(OUT, metadata={"Date": None}, transparent=False)
    print(f"Wrote {OUT}")


def draw(model):
    """A figure of a model's layers from top to bottom, queries to the left."""
    layers = [layer for layer in model.layers if layer.name != "images"]
    rows, y = {}, 0
    for layer in layers:
        if type(layer).__name__ == "GlobalQueryGenerator":
            rows[layer.name] = (0, y - STEP)  # beside the local block
        else:
            rows[layer.name] = (LEFT, y)
            y += STEP
    figure = Figure((8, 0.42 * y + 0.6), layout="tight")
    axis = figure.subplots()
    axis.set_xlim(-2.0, LEFT + 6.4)
    axis.set_ylim(y, -1.2)
    axis.set_axis_off()
    axis.text(LEFT, -0.75, f"images {shape(model.input)}", ha="center")
    arrow(axis, (LEFT, -0.6), (LEFT, -0.38))
    for i, (text, colour) in enumerate(
        (("local attention", LOCAL), ("global attention", GLOBAL))
    ):
        axis.add_patch(
            matplotlib.patches.Rectangle(
                (-1.9, 0.8 * i - 1), 0.3, 0.5, facecolor=colour
            )
        )
        axis.text(-1.4, 0.8 * i - 0.75, text, va="center", fontsize=8)
    for layer in layers:
        place = rows[layer.name]
        colour = colour_of(layer)
        axis.add_patch(
            matplotlib.patches.FancyBboxPatch(
                (place[0] - WIDTH / 2, place[1] - 0.28),
                WIDTH,
                0.56,
                boxstyle="round,pad=0.06",
                facecolor=colour,
                edgecolor="#555555",
                linewidth=0.8,
            )
        )
        axis.text(*place, layer.name, ha="center", va="center", fontsize=9)
        axis.text(
            LEFT + WIDTH / 2 + 0.3 if place[0] else -WIDTH / 2,
            place[1] + (0 if place[0] else 0.5),
            f"{type(layer).__name__}  {shape(layer.output)}",
            va="center",
            fontsize=7 if place[0] == 0 else 8,
            color="#444444",
        )
        for source in sources(layer):
            if source in rows:
                join(axis, rows[source], place)
    return figure


def colour_of(layer):
    """A colour for each kind of layer; global blocks are given a query."""
    if type(layer).__name__ == "GCViTBlock":
        return GLOBAL if len(sources(layer)) > 1 else LOCAL
    return KINDS.get(type(layer).__name__, OTHER)


def sources(layer):
    """Names of the layers whose outputs a layer is given."""
    node = layer._inbound_nodes[0]
    return [t._keras_history.operation.name for t in node.input_tensors]


def shape(tensor):
    """Height, width and channels, or channels."""
    return " x ".join(str(size) for size in tensor.shape[1:])


def join(axis, start, end):
    """An arrow between boxes; one column to the other where they differ."""
    if start[0] == end[0]:
        if end[1] - start[1] == STEP:
            arrow(axis, (start[0], start[1] + 0.34), (end[0], end[1] - 0.36))
    elif end[0] == 0:  # to a query, from above
        arrow(
            axis,
            (start[0] - WIDTH / 2 - 0.06, start[1]),
            (WIDTH / 2 + 0.1, end[1] - 0.1),
        )
    else:
        arrow(
            axis,
            (WIDTH / 2 + 0.06, start[1] + 0.1),
            (end[0] - WIDTH / 2 - 0.1, end[1]),
        )


def arrow(axis, start, end):
    """An arrow."""
    axis.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.8},
    )


if __name__ == "__main__":
    main()
