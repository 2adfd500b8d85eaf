"""Maps over their images, as figures of matplotlib."""

import numpy as np

from gcvit_keras.explain.cam import enlarged

COLOURS = "inferno"
SIDE = 2.4
"""Of each picture, in inches."""


def plot_overlay(image, heat, title=None, opacity=0.5):
    """Draws a map over its image.

    Args:
        image: Array `(height, width, channels)`, pixels in [0, 255]; of 1 or
            3 channels.
        heat: Array `(height, width)` or smaller, as of a feature map; from
            dark, its minimum, to bright, its maximum.
        title: Text above.
        opacity: Of the map, in [0, 1].

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: For an argument of another shape or out of range.
    """
    return _grid([[(image, heat, title)]], opacity)


def plot_attention(image, maps, index=0, query=None, opacity=0.6):
    """Draws the attention of blocks, a row each, by head.

    Args:
        image: See `plot_overlay`.
        maps: List of `AttentionMap`, as `attention_maps` returns.
        index: Place of the image in those that the maps are of.
        query: `(y, x)` in a window, of the query to draw. Default: the mean
            of all.
        opacity: Of the maps, in [0, 1].

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: For an argument of another shape or out of range.
    """
    rows = []
    for found in maps:
        heads = found.mean_map() if query is None else found.query_map(*query)
        kind = "global" if found.is_global else "local"
        name = f"level {found.level}, block {found.block} ({kind})"
        rows.append(
            [
                (image, heat, f"{name}\nhead {head}")
                for head, heat in zip(found.heads, heads[index], strict=True)
            ]
        )
    return _grid(rows, opacity)


def plot_comparison(images, first, second, names=("first", "second")):
    """Draws the maps of two models of the same images side by side.

    Args:
        images: Array `(images, height, width, channels)`, pixels in [0, 255].
        first: Maps of the first model, array `(images, height, width)`.
        second: Those of the second.
        names: What the models are called.

    Returns:
        `matplotlib.figure.Figure` with a row an image.

    Raises:
        ValueError: For an argument of another shape, or another number of
            maps than of images.
    """
    if not len(images) == len(first) == len(second):
        raise ValueError(
            "`first` and `second` must be a map an image. Received: "
            f"{len(images)} images, {len(first)} and {len(second)} maps"
        )
    return _grid(
        [
            [(image, None, "image"), (image, one, names[0])]
            + [(image, other, names[1])]
            for image, one, other in zip(images, first, second, strict=True)
        ],
        0.5,
    )


def _grid(rows, opacity):
    """A figure of rows of (image, map or `None`, title)."""
    from matplotlib.figure import Figure  # takes a while

    if not rows:
        raise ValueError("`maps` must hold one map at least. Received: none")
    columns = max(map(len, rows))
    figure = Figure((SIDE * columns, SIDE * 1.2 * len(rows)), layout="tight")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, line in zip(axes, rows, strict=True):
        for axis, (image, heat, title) in zip(row, line, strict=False):
            _draw(axis, image, heat, title, opacity)
    return figure


def _draw(axis, image, heat, title, opacity):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(
            "`image` must be pixels (height, width, 1 or 3). "
            f"Received: an array of shape {image.shape}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(
            f"`opacity` must be in [0, 1]. Received: opacity={opacity!r}"
        )
    pixels = np.clip(np.round(image), 0, 255).astype("uint8")
    axis.imshow(pixels.repeat(3 // pixels.shape[-1], -1))
    if title:
        axis.set_title(title, fontsize=8)
    if heat is None:
        return
    heat = np.asarray(heat, "float32")
    if heat.ndim != 2:
        raise ValueError(
            "a map must be (height, width). "
            f"Received: an array of shape {heat.shape}"
        )
    (large,) = enlarged(heat[None], image.shape[:2])
    axis.imshow(large, cmap=COLOURS, alpha=opacity)
