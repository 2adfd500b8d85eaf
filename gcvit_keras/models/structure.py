"""The names of a GC ViT's layers, and their places in the network.

The one file that knows: whoever freezes, decays, explains or exports parts of
a model asks here.
"""

import re

import keras

from gcvit_keras.layers import GCViTBlock, GlobalQueryGenerator, Stem

STEM = "stem"
FINAL_NORM = "norm"
POOL = "pool"
HEAD = "predictions"
QUERY, BLOCK = "level_{}_query", "level_{}_block_{}"
DOWNSAMPLE, NORM = "level_{}_downsample", "level_{}_norm"
"""Names to `format` with a level, and a block in it, both from 0. After a
level's blocks comes DOWNSAMPLE, and NORM normalises its output."""
_BLOCK = re.compile(r"level_(\d)_block_(\d+)")
_QUERY = re.compile(r"level_(\d)_query")


def all_layers(model) -> list[keras.layers.Layer]:
    """Lists the layers of a model and of those within it, in their order."""
    return list(model._flatten_layers(include_self=False))


def blocks(model) -> dict[tuple[int, int], GCViTBlock]:
    """Finds the blocks of the GC ViT that a model is or holds.

    Args:
        model: A `keras.Model`.

    Returns:
        Dict from `(level, block)`, both from 0, to `GCViTBlock`, in the order
        of the network.

    Raises:
        ValueError: If the model holds no GC ViT, or more than one.
    """
    numbered = _numbered(model, _BLOCK, GCViTBlock)
    if not numbered:
        raise ValueError(
            "`model` must be a GC ViT of this library or hold one. "
            f"Received: {model.name!r}, which holds none"
        )
    return numbered


def last_blocks(model) -> dict[int, GCViTBlock]:
    """Finds the last block of each level, from 0; see `blocks`."""
    return {level: block for (level, _), block in blocks(model).items()}


def query_generators(model) -> dict[int, GlobalQueryGenerator]:
    """Finds the query generator of each level, from 0, that has one."""
    generators = _numbered(model, _QUERY, GlobalQueryGenerator)
    return {level: layer for (level,), layer in generators.items()}


def stem(model) -> Stem:
    """Finds the stem of the GC ViT that a model is or holds."""
    blocks(model)  # one GC ViT it is
    return next(x for x in all_layers(model) if isinstance(x, Stem))


def head(model) -> keras.layers.Layer | None:
    """Finds the classifier upon a GC ViT; `None` if no layer has its name."""
    layers = getattr(model, "layers", ())
    return next((x for x in layers if x.name == HEAD), None)


def has_levels(model) -> bool:
    """Tells whether a model's own layers are those of a GC ViT.

    They are not where the GC ViT is a model within the model.
    """
    names = {layer.name for layer in getattr(model, "layers", ())}
    return {BLOCK.format(0, 0), BLOCK.format(3, 0), FINAL_NORM} <= names


def last_map(model):
    """Finds a classifier's normalised last feature map, a Keras tensor.

    Raises a `ValueError` if the model has no layer of that name.
    """
    return model.get_layer(FINAL_NORM).output


def pooled(model):
    """Finds the features `(batch, channels)` that a classifier's head is given.

    Raises a `ValueError` if the model has no layer of that name.
    """
    return model.get_layer(POOL).output


def depth_groups(model) -> list[list[keras.layers.Layer]]:
    """Groups a GC ViT's own layers by depth, for layer-wise learning rates.

    Returns lists of layers, from the input on: one per block, with what comes
    between it and the block before, the final norm being with the last block;
    then one of the head alone.
    """
    order = list(blocks(model).values())
    groups, place = [[] for _ in (*order, HEAD)], 0
    for layer in model.layers:
        groups[-1 if layer.name == HEAD else place].append(layer)
        if layer in order:
            place = min(place + 1, len(order) - 1)
    return groups


def feature_pyramid(model: keras.Model) -> keras.Model:
    """Makes a model of the four feature maps of a GC ViT.

    `GCViTBackbone` is one without a classifier.

    Args:
        model: A model of this library, with or without the top.

    Returns:
        A functional `keras.Model` that shares `model`'s layers and weights,
        with outputs `{"P2", "P3", "P4", "P5"}`: the last block of each level,
        before downsampling and without the final norm, at strides 4, 8, 16
        and 32, of widths `embed_dim` times 1, 2, 4 and 8.

    Raises:
        ValueError: If `model` does not have the four levels as its own layers.

    Examples:
    >>> import gcvit_keras
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10, input_shape=(64, 64, 3))
    >>> gcvit_keras.feature_pyramid(model).output["P5"].shape
    (None, 2, 2, 128)
    """
    levels = {}
    for layer in getattr(model, "layers", ()):
        if match := _BLOCK.fullmatch(layer.name):
            levels[f"P{int(match[1]) + 2}"] = layer.output  # the last one stays
    if sorted(levels) != ["P2", "P3", "P4", "P5"]:
        raise ValueError(
            "`model` must be a GC ViT of this library, with the four levels as "
            f"its own layers. Received: model={model.name!r} with levels of "
            f"{sorted(levels) or 'none'}"
        )
    return keras.Model(model.input, levels, name=f"{model.name}_pyramid")


def _numbered(model, pattern, kind):
    """Finds the layers of a kind, by the numbers in their names."""
    numbered = {}
    for layer in all_layers(model):
        match = pattern.fullmatch(layer.name)
        if not match or not isinstance(layer, kind):
            continue
        numbers = tuple(int(number) for number in match.groups())
        if numbered.get(numbers, layer) is not layer:
            raise ValueError(
                f"`model` must hold one GC ViT. Received: {model.name!r}, in "
                f"which there are several layers {layer.name}"
            )
        numbered[numbers] = layer
    return dict(sorted(numbered.items()))
