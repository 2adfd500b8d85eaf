"""The backbone: stem and four levels (arXiv 2206.09959, figure 2)."""

import keras
import numpy as np

from gcvit_keras import checks
from gcvit_keras.layers import (
    Downsample,
    GCViTBlock,
    GlobalQueryGenerator,
    LayerNorm,
    Stem,
)
from gcvit_keras.layers.composite import policy_with_quantized
from gcvit_keras.models import arguments, structure
from gcvit_keras.models.preprocessing import normalization
from gcvit_keras.variants import VARIANTS
from gcvit_keras.weights import Preset, load_weights, prepare

QUERY_POOLS = (3, 2, 0, 0)
"""How often the classifiers' query generators halve the map of each level:
56, 28, 14 and 7 end at the windows 7, 7, 14 and 7 at 224 x 224."""


def stem_and_levels(
    images,
    *,
    embed_dim,
    depths,
    num_heads,
    mlp_ratio,
    layer_scale,
    drop_path_rate,
    se_divisor,
    windows,
    query_pools=QUERY_POOLS,
    include_preprocessing=True,
    dtype=None,
):
    """Builds stem and levels upon a Keras tensor of images.

    The arguments are those of `GCViTBackbone`, checked and all given; `windows`
    is a `(height, width)` per level. Returns four Keras tensors, the output of
    each level's last block: `(batch, height / 4, width / 4, embed_dim)`, and
    each next one of half the size and twice the width. Sizes are rounded up.
    """
    drop_paths = np.linspace(0.0, drop_path_rate, sum(depths)).tolist()
    x = images
    if include_preprocessing and x.shape[-1] in (1, 3):
        x = normalization("preprocessing", x.shape[-1], dtype)(x)
    x = Stem(embed_dim, se_divisor, dtype=dtype, name=structure.STEM)(x)
    levels = []
    for level, depth in enumerate(depths):
        if level > 0:
            x = Downsample(
                2 * x.shape[-1],
                se_divisor,
                dtype=dtype,
                name=structure.DOWNSAMPLE.format(level - 1),
            )(x)
        query = None
        if depth > 1:  # a single block is local and asks for none
            query = GlobalQueryGenerator(
                windows[level],
                query_pools[level],
                se_divisor,
                dtype=dtype,
                name=structure.QUERY.format(level),
            )(x)
        for j in range(depth):
            is_global = j % 2 == 1
            block = GCViTBlock(
                num_heads[level],
                windows[level],
                global_query=is_global,
                mlp_ratio=mlp_ratio,
                layer_scale=layer_scale,
                drop_path_rate=drop_paths.pop(0),
                dtype=dtype,
                name=structure.BLOCK.format(level, j),
            )
            x = block(x, query) if is_global else block(x)
        levels.append(x)
    return levels


@keras.saving.register_keras_serializable("gcvit_keras")
class GCViTBackbone(keras.Model):
    """GC ViT without a head: four feature maps for detection and the like.

    A functional model: its layers are `stem`; for each level i
    `level_i_query`, `level_i_block_0` and on, with `level_norms`
    `level_i_norm` and, but for the last, `level_i_downsample`.

    Args:
        variant: Name of a published variant, such as `"tiny"`, which gives
            the sizes that are not given. `None`: `embed_dim`, `depths`,
            `num_heads` and `mlp_ratio` have to be given.
        embed_dim: Channels of level 0; each later level doubles them.
        depths: Blocks of each of the four levels; even ones attend locally,
            odd ones with the level's global query.
        num_heads: Attention heads of each level.
        mlp_ratio: Hidden width of a block's MLP over the block's width.
        layer_scale: Initial value of the layer scales. `None`: the
            variant's, or none.
        drop_path_rate: Stochastic depth rate of the last block, in [0, 1),
            growing linearly from 0 at the first. Default: the variant's, or 0.
        se_divisor: Squeezed widths are rounded to multiples of this: 1 as in
            the official code, 8 as in timm. All variants agree on both.
        window_size: Window of each of the four levels. Default: as `GCViT`;
            the official detectors use 24 at every level.
        query_pools: How often each level's query generator halves its map,
            four integers of at least 0; the official detectors' are
            `(3, 2, 1, 0)`.
        level_norms: Whether each of the four outputs is normalised by a
            `LayerNorm` of its own, as the official detectors do.
        include_preprocessing: Whether the model takes RGB or grey pixels in
            [0, 255] and normalises inside. Inputs of other channels pass
            through.
        weights: As for `GCViT`: `None`, a preset, or the path of a
            checkpoint. Of a classifier's checkpoint the final norm and the
            head are left out, and `level_i_norm` starts as identity.
        input_shape: `(height, width, channels)`; height and width may be
            `None`. Default: `(None, None, 3)`.
        input_tensor: Keras tensor `(batch, height, width, channels)` to build
            upon, in place of a new input.
        dtype: Dtype policy of all layers. Default: the global one.
        name: Name of the model.
        trainable: Whether the layers' weights are trained.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.

    Returns:
        Dict of `"P2"`, `"P3"`, `"P4"` and `"P5"`: tensors at strides 4, 8, 16
        and 32, of widths `embed_dim` times 1, 2, 4 and 8. Sizes that a stride
        does not divide are rounded up.

    Raises:
        ValueError: For an argument out of range, or a checkpoint that does
            not fit.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import gcvit_keras, keras
    >>> backbone = gcvit_keras.GCViTBackbone(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, window_size=(12, 12, 12, 12),
    ...     query_pools=(3, 2, 1, 0), level_norms=True)
    >>> maps = backbone(keras.ops.zeros((1, 160, 224, 3)))
    >>> {name: tuple(x.shape) for name, x in sorted(maps.items())}
    {'P2': (1, 40, 56, 16), 'P3': (1, 20, 28, 32), 'P4': (1, 10, 14, 64),
     'P5': (1, 5, 7, 128)}
    """

    def __init__(
        self,
        variant=None,
        *,
        embed_dim=None,
        depths=None,
        num_heads=None,
        mlp_ratio=None,
        layer_scale=None,
        drop_path_rate=None,
        se_divisor=1,
        window_size=None,
        query_pools=QUERY_POOLS,
        level_norms=False,
        include_preprocessing=True,
        weights=None,
        input_shape=None,
        input_tensor=None,
        dtype=None,
        name="gcvit_backbone",
        trainable=True,
    ):
        sizes = {
            "embed_dim": embed_dim,
            "depths": depths,
            "num_heads": num_heads,
            "mlp_ratio": mlp_ratio,
            "layer_scale": layer_scale,
            "drop_path_rate": drop_path_rate,
        }
        if variant is not None:
            published = VARIANTS[checks.one_of("variant", variant, VARIANTS)]
            for size, value in sizes.items():
                if value is None:
                    sizes[size] = getattr(published, size)
            weights = arguments.named_weights(variant, weights)
        sizes = arguments.architecture(**sizes, se_divisor=se_divisor)
        query_pools = arguments.per_level("query_pools", query_pools, least=0)
        preset = weights if isinstance(weights, Preset) else None
        images = arguments.image_input(
            input_tensor, input_shape, default_shape=(None, None, 3)
        )
        windows = arguments.windows(window_size, images.shape[1:3], preset)
        if weights is not None:
            weights = prepare(weights)

        levels = stem_and_levels(
            images,
            **sizes,
            windows=windows,
            query_pools=query_pools,
            include_preprocessing=include_preprocessing,
            dtype=dtype,
        )
        if level_norms:
            levels = [
                LayerNorm(dtype=dtype, name=structure.NORM.format(i))(x)
                for i, x in enumerate(levels)
            ]
        inputs = arguments.source(images)
        super().__init__(
            inputs,
            {f"P{i + 2}": x for i, x in enumerate(levels)},
            name=name,
            trainable=trainable,
        )
        self._policy = keras.dtype_policies.get(dtype)
        self._is_upon_a_graph = inputs is not images
        self._arguments = {
            "variant": variant,
            **sizes,
            "window_size": windows,
            "query_pools": query_pools,
            "level_norms": level_norms,
            "include_preprocessing": include_preprocessing,
            "weights": None,  # a file of this model brings its own
            "input_shape": tuple(images.shape[1:]),
            "input_tensor": None,
        }
        if weights is not None:
            load_weights(self, weights)

    @property
    def pyramid_outputs(self):
        """Dict of `"P2"` to `"P5"`, Keras tensors, as KerasHub's backbones."""
        return dict(self.output)

    @property
    def pyramid_level_inputs(self):
        """Dict of `"P2"` to `"P5"`, layers by name, as keras-cv's backbones."""
        return {
            level: x._keras_history.operation.name
            for level, x in self.output.items()
        }

    def get_config(self):
        """Returns the arguments of the constructor, but for the weights.

        Raises:
            ValueError: If the model was built upon the output of a layer.
        """
        if self._is_upon_a_graph:
            raise ValueError(
                "`GCViTBackbone` built upon an `input_tensor` that is a "
                "layer's output cannot be saved by itself. Wrap it: "
                "`keras.Model(backbone.inputs, backbone.pyramid_outputs)`"
            )
        return {
            **self._arguments,
            "dtype": keras.dtype_policies.serialize(
                policy_with_quantized(self, self._policy)
            ),
            "name": self.name,
            "trainable": self.trainable,
        }
