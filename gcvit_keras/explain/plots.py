"""Maps over their images, as figures of matplotlib."""

import numpy as np

from gcvit_keras import checks
from gcvit_keras.explain.attention import AttentionMap
from gcvit_keras.explain.cam import enlarged

COLOURS = "inferno"
SIDE = 2.4
"""Side of each picture, in inches."""


def plot_overlay(image, heat, title=None, opacity=0.5, input_size=None):
    """Draws a map over its image.

    Args:
        image: Array `(height, width, channels)`, pixels in [0, 255]; of 1 or
            3 channels.
        heat: Array `(height, width)` or smaller, as of a feature map; from
            dark, its minimum, to bright, its maximum.
        title: Text above.
        opacity: Opacity of the map, in [0, 1].
        input_size: Where the model resizes images before its GC ViT, and the
            map is smaller than the image: what it resizes them to, `(height,
            width)`, as `AttentionMap.input_size` says.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: For an argument of another shape or out of range.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.explain import plot_overlay
    >>> figure = plot_overlay(np.zeros((64, 64, 3)), np.eye(4), "a diagonal")
    >>> figure.savefig("diagonal.png")
    """
    return _grid([[(image, heat, title)]], opacity, input_size)


def plot_attention(image, maps, index=0, query=None, opacity=0.6):
    """Draws the attention of blocks, a row for each, by head.

    Args:
        image: See `plot_overlay`.
        maps: List of `AttentionMap`, as `attention_maps` returns.
        index: Number of the image among those that the maps are of, from 0.
        query: `(y, x)` in a window, of the query to draw. Default: the mean
            of all.
        opacity: Opacity of the maps, in [0, 1].

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: For an argument of another shape or out of range.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> maps = gcvit_keras.explain.attention_maps(model, images, level=3)
    >>> figure = gcvit_keras.explain.plot_attention(images[0], maps)
    >>> len(figure.axes)
    16
    """
    if not isinstance(maps, (list, tuple)) or not all(
        isinstance(each, AttentionMap) for each in maps
    ):
        raise ValueError(
            "`maps` must be a list of AttentionMap, as `attention_maps` "
            f"returns. Received: {type(maps).__name__}"
        )
    if not maps:
        raise ValueError("`maps` must hold one map at least. Received: none")
    images = min(len(each.weights) for each in maps)
    checks.integer("index", index, 0, images - 1)
    if query is not None and np.shape(query) != (2,):
        raise checks.error("query", "None or (y, x)", query)
    rows = []
    for block in maps:
        heads = block.mean_map() if query is None else block.query_map(*query)
        kind = "global" if block.is_global else "local"
        name = f"level {block.level}, block {block.block} ({kind})"
        rows.append(
            [
                (image, heat, f"{name}\nhead {head}")
                for head, heat in zip(block.heads, heads[index], strict=True)
            ]
        )
    return _grid(rows, opacity, maps[0].input_size)


def plot_comparison(images, first, second, names=("first", "second")):
    """Draws the maps of two models of the same images side by side.

    Args:
        images: Array `(images, height, width, channels)`, pixels in [0, 255].
        first: Maps of the first model, array `(images, height, width)`.
        second: Those of the second.
        names: Two texts, the names of the models.

    Returns:
        `matplotlib.figure.Figure` with a row for each image.

    Raises:
        ValueError: For an argument of another shape, or another number of
            maps than of images.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.explain import plot_comparison
    >>> images, maps = np.zeros((2, 64, 64, 3)), np.ones((2, 64, 64))
    >>> figure = plot_comparison(images, maps, maps, ("before", "after"))
    >>> len(figure.axes)
    6
    """
    counts = [
        len(value) if np.iterable(value) else 0
        for value in (images, first, second)
    ]
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            "`first` and `second` must be a map for each image. Received: "
            f"{counts[0]} images, {counts[1]} and {counts[2]} maps"
        )
    if not isinstance(names, (list, tuple)) or len(names) != 2:
        raise checks.error("names", "two texts", names)
    return _grid(
        [
            [(image, None, "image"), (image, one, names[0])]
            + [(image, other, names[1])]
            for image, one, other in zip(images, first, second, strict=True)
        ],
        0.5,
    )


def _grid(rows, opacity, input_size=None):
    """Draws rows of (image, map or `None`, title) as a figure."""
    from matplotlib.figure import Figure  # takes a while

    columns = max(map(len, rows))
    figure = Figure((SIDE * columns, SIDE * 1.2 * len(rows)), layout="tight")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, line in zip(axes, rows, strict=True):
        for axis, (image, heat, title) in zip(row, line, strict=False):
            _draw(axis, image, heat, title, opacity, input_size)
    return figure


def _draw(axis, image, heat, title, opacity, input_size):
    image = _finite("`image`", image, "pixels (height, width, 1 or 3)", 3)
    if image.shape[-1] not in (1, 3):
        raise ValueError(
            "`image` must be pixels (height, width, 1 or 3). "
            f"Received: an array of shape {image.shape}"
        )
    checks.number("opacity", opacity, "in [0, 1]", lambda x: 0 <= x <= 1)
    if input_size is not None and (
        np.shape(input_size) != (2,)
        or not all(checks.is_integer(s) and s > 0 for s in input_size)
    ):
        raise checks.error("input_size", "None or (height, width)", input_size)
    pixels = np.clip(np.round(image), 0, 255).astype("uint8")
    axis.imshow(pixels.repeat(3 // pixels.shape[-1], -1))
    if title:
        axis.set_title(title, fontsize=8)
    if heat is None:
        return
    heat = _finite("a map", heat, "(height, width)", 2)
    (large,) = enlarged(heat[None], image.shape[:2], input_size)
    axis.imshow(large, cmap=COLOURS, alpha=opacity)


def _finite(name, value, accepted, dimensions):
    """Makes a float32 array that matplotlib can draw."""
    try:
        array = np.asarray(value)
        array = array.astype("float32") if array.dtype.kind in "buifV" else None
    except (TypeError, ValueError):  # lists of different lengths, for one
        array = None
    if array is None or array.ndim != dimensions or not array.size:
        received = f"an array of shape {np.shape(array)}"
        if array is None:
            received = f"{type(value).__name__} that is no array of numbers"
    elif np.isfinite(array).all():
        return array
    else:
        received = "an array with NaN or infinity"
    raise ValueError(f"{name} must be {accepted}. Received: {received}")
