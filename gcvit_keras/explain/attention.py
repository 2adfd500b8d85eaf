"""The attention of a GC ViT, as it was computed."""

from dataclasses import dataclass, replace

import numpy as np
from keras import ops

from gcvit_keras import checks
from gcvit_keras.explain.recording import (
    batches,
    checked_images,
    input_size,
    watched,
)
from gcvit_keras.models import structure


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one block (paper section 3.2).

    Attributes:
        level: The block's level, from 0.
        block: Its number in the level, from 0.
        is_global: Whether the queries are the level's global ones, one for
            each place of a window and the same for all windows, rather than
            those of the window itself.
        heads: Numbers of the heads.
        window_size: `(h, w)` of a window, in places of the feature map: a
            place is one of its `height * width` positions.
        size: `(height, width)` of the feature map, in places.
        input_size: `(height, width)` in pixels of what the GC ViT was given,
            which the map covers: the image, or what its model resized it to.
        padding: Rows below and columns to the right of it that were added to
            fill the windows. Attention on them is part of `weights`, but of
            no map.
        weights: Float32 array `(images, rows of windows, columns of windows,
            heads, h * w, h * w)`: for each query of a window, row by row, how
            much it takes of each place of that window. Rows sum to one
            within 1e-5; within 2e-3 where the model computed in float16, and
            1.6e-2 in bfloat16, two machine epsilons.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> maps = gcvit_keras.explain.attention_maps(model, images, level=1)
    >>> (maps[1].is_global, maps[1].window_size, maps[1].weights.shape)
    (True, (2, 2), (1, 4, 4, 2, 4, 4))
    >>> maps[1].query_map(0, 1).shape
    (1, 2, 8, 8)
    """

    level: int
    block: int
    is_global: bool
    heads: tuple[int, ...]
    window_size: tuple[int, int]
    size: tuple[int, int]
    input_size: tuple[int, int]
    padding: tuple[int, int]
    weights: np.ndarray

    def query_map(self, y, x) -> np.ndarray:
        """Maps what a query takes of all windows, side by side.

        Args:
            y: Row of the query in a window, from 0 to h - 1.
            x: Column of the query, from 0 to w - 1.

        Returns:
            Float32 array `(images, heads, *size)`. Of a global block it is
            one query that looks at every window, and each window that is not
            padded sums to one; of a local block each window has its own.

        Raises:
            ValueError: If the window has no such place.
        """
        h, w = self.window_size
        checks.integer("y", y, 0, h - 1)
        checks.integer("x", x, 0, w - 1)
        return self._stitched(self.weights[..., y * w + x, :])

    def mean_map(self) -> np.ndarray:
        """Maps what the queries of a window take of it on average.

        Returns:
            Float32 array `(images, heads, *size)`.
        """
        return self._stitched(self.weights.mean(-2))

    def position_map(self, y, x) -> np.ndarray:
        """Maps what a place of the feature map takes of the others.

        Args:
            y: Row of the place in the feature map.
            x: Column of it.

        Returns:
            Float32 array `(images, heads, *size)`, zero outside of its
            window; sums to one where that is not padded.

        Raises:
            ValueError: If the feature map has no such place.
        """
        h, w = self.window_size
        checks.integer("y", y, 0, self.size[0] - 1)
        checks.integer("x", x, 0, self.size[1] - 1)
        whole = np.zeros_like(self.weights[..., 0, :])
        token = y % h * w + x % w
        row, column = y // h, x // w
        whole[:, row, column] = self.weights[:, row, column, :, token]
        return self._stitched(whole)

    def _stitched(self, windows):
        """Joins windows `(images, rows, columns, heads, h * w)` to a map."""
        (h, w), (height, width) = self.window_size, self.size
        images, rows, columns, heads, _ = windows.shape
        x = windows.reshape(images, rows, columns, heads, h, w)
        x = x.transpose(0, 3, 1, 4, 2, 5)
        x = x.reshape(images, heads, rows * h, columns * w)
        return x[..., :height, :width]


def attention_maps(
    model, images, level=None, block=None, head=None, batch_size=16
) -> list[AttentionMap]:
    """Computes the attention weights of a model.

    Args:
        model: A GC ViT of this library, or a model that holds one.
        images: Array `(images, height, width, channels)`, as the model takes
            them.
        level: Level from 0 to 3. Default: all.
        block: Block of the level, from 0; the odd ones are global. Default:
            all.
        head: Head, from 0. Default: all.
        batch_size: Images that are computed at once.

    Returns:
        List of `AttentionMap`, one for each block, in the order of the
        network.

    Raises:
        ValueError: For an argument out of range, or a model that calls its GC
            ViT more than once, or gives it something else than the whole
            image, resized at most.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> maps = gcvit_keras.explain.attention_maps(model, images, block=1)
    >>> [block.mean_map().shape for block in maps]
    [(1, 1, 16, 16), (1, 2, 8, 8), (1, 4, 4, 4), (1, 8, 2, 2)]
    """
    images = checked_images(images, model)
    size = input_size(model, images)
    maps = _computed(model, images, level, block, head, batch_size)
    return [replace(each, input_size=size) for each in maps]


def _computed(model, images, level, block, head, batch_size):
    """Computes maps whose `input_size` is that of their feature map."""
    blocks = structure.blocks(model)
    _check_choice("level", level, {n for n, _ in blocks})
    blocks = {k: b for k, b in blocks.items() if level in (None, k[0])}
    _check_choice("block", block, {n for _, n in blocks})
    blocks = {k: b for k, b in blocks.items() if block in (None, k[1])}
    heads = {k: b.attention.num_heads for (k, _), b in blocks.items()}
    counts = ", ".join(f"level {k} has {n}" for k, n in heads.items())
    _check_choice("head", head, range(min(heads.values())), counts)
    layers = [b.attention for b in blocks.values()]
    parts = []
    for part in batches(images, batch_size):
        with (
            watched(layers, "call") as calls,
            watched(layers, "attention_weights") as weights,
        ):
            model(part, training=False)
        parts.append(
            [
                _attention_map(k, b, len(part), calls, weights, head)
                for k, b in blocks.items()
            ]
        )
    maps = [
        replace(same[0], weights=np.concatenate([m.weights for m in same]))
        for same in zip(*parts, strict=True)
    ]
    if not all(np.isfinite(each.weights).all() for each in maps):
        raise ValueError(
            "`model` must compute finite numbers. "
            f"Received: {model.name!r}, whose attention is NaN"
        )
    return maps


def _attention_map(place, block, images, calls, weights, head):
    layer = block.attention
    (inputs, *_), _ = calls[layer]
    height, width = inputs.shape[1:3]
    h, w = layer.window_size
    below, right = -height % h, -width % w
    rows, columns = (height + below) // h, (width + right) // w
    values = ops.convert_to_numpy(ops.cast(weights[layer][1], "float32"))
    values = values.reshape(-1, images, rows, columns, h * w, h * w)
    values = np.moveaxis(values, 0, 3)
    heads = tuple(range(layer.num_heads))
    if head is not None:
        heads, values = (head,), values[:, :, :, head : head + 1]
    return AttentionMap(
        level=place[0],
        block=place[1],
        is_global=layer.global_query,
        heads=heads,
        window_size=layer.window_size,
        size=(height, width),
        input_size=(height, width),
        padding=(below, right),
        weights=values,
    )


def global_query_tokens(model, images, batch_size=16) -> dict[int, np.ndarray]:
    """Computes the query tokens of each level (paper figure 4).

    Args:
        model: See `attention_maps`.
        images: See `attention_maps`.
        batch_size: Images that are computed at once.

    Returns:
        Dict from the level to a float32 array `(images, h, w, channels)`,
        the features of one query for each place of a window. Levels without
        global blocks have none.

    Raises:
        ValueError: For an argument out of range.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> tokens = gcvit_keras.explain.global_query_tokens(model, images)
    >>> {level: array.shape for level, array in tokens.items()}
    {0: (1, 2, 2, 16), 1: (1, 2, 2, 32), 2: (1, 4, 4, 64), 3: (1, 2, 2, 128)}
    """
    images = checked_images(images, model)
    structure.blocks(model)  # one GC ViT it is
    generators = structure.query_generators(model)
    parts = []
    for part in batches(images, batch_size):
        with watched(generators.values(), "call") as calls:
            model(part, training=False)
        parts.append({k: calls[layer][1] for k, layer in generators.items()})
    return {
        level: np.concatenate(
            [
                ops.convert_to_numpy(ops.cast(part[level], "float32"))
                for part in parts
            ]
        )
        for level in generators
    }


def attention_rollout(model, images, batch_size=16) -> np.ndarray:
    """Computes how much of each place attention carries to the last map.

    Attention rollout (Abnar and Zuidema, arXiv 2005.00928): the mean of the
    heads and of the identity, which stands for the residual connection,
    multiplied over all blocks from the last to the first. Between levels a
    place stands for the four that it is made of. What the convolutions mix
    and what the global queries are made of is not followed.

    Args:
        model: See `attention_maps`.
        images: See `attention_maps`.
        batch_size: Images that are computed at once.

    Returns:
        Float32 array `(images, height, width)` of the size of the first
        level's feature map, a quarter of the image's. Each image sums to one.

    Raises:
        ValueError: For an argument out of range.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> images = 255 * np.random.default_rng(0).random((1, 64, 64, 3))
    >>> rollout = gcvit_keras.explain.attention_rollout(model, images)
    >>> rollout.shape, round(float(rollout.sum()), 3)
    ((1, 16, 16), 1.0)
    """
    images = checked_images(images, model)
    parts = []
    for part in batches(images, batch_size):
        carried = None
        maps = _computed(model, part, None, None, None, batch_size)
        for block in reversed(maps):
            if carried is None:
                carried = np.ones((len(part), *block.size))
            elif carried.shape[1:] != block.size:
                carried = _children(carried, block.size)
            carried = _before(block, carried)
        parts.append(carried / carried.sum((1, 2), keepdims=True))
    return np.concatenate(parts).astype("float32")


def _children(carried, size):
    """Shares the value of each place among the places it is made of."""
    for axis, places in ((1, size[0]), (2, size[1])):
        of = np.arange(places) // 2
        share = 1 / np.bincount(of)[of]
        shape = [1, 1, 1]
        shape[axis] = places
        carried = np.take(carried, of, axis) * share.reshape(shape)
    return carried


def _before(block, carried):
    """Carries shares from the places after a block to those before it."""
    h, w = block.window_size
    padding = ((0, 0), *((0, added) for added in block.padding))
    images = len(carried)
    _, rows, columns, *_ = block.weights.shape
    x = np.pad(carried, padding).reshape(images, rows, h, columns, w)
    x = x.transpose(0, 1, 3, 2, 4).reshape(images, rows, columns, h * w)
    x = np.einsum("nrcq,nrcqk->nrck", x, block.weights.mean(3))
    attended = block._stitched(x[:, :, :, None])[:, 0]
    return (carried + attended) / 2


def _check_choice(argument, value, choices, why=""):
    if value is None or (checks.is_integer(value) and value in choices):
        return
    why = why and f": {why}"
    accepted = f"None or one of {sorted(choices)}{why}"
    raise checks.error(argument, accepted, value)
