"""GC ViT as functional models (arXiv 2206.09959, ICML 2023)."""

import keras

from gcvit_keras import checks
from gcvit_keras.layers import LayerNorm
from gcvit_keras.layers.composite import linear_initializer
from gcvit_keras.models import arguments, structure
from gcvit_keras.models.backbone import stem_and_levels
from gcvit_keras.weights import Preset, load_weights, prepare


def GCViT(
    *,
    embed_dim,
    depths,
    num_heads,
    mlp_ratio,
    layer_scale=None,
    se_divisor=1,
    include_top=True,
    include_preprocessing=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit",
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT of any size, ending in a classifier or in features.

    Args:
        embed_dim: Channels of level 0; each later level doubles them.
        depths: Blocks of each of the four levels; even ones attend locally,
            odd ones with the level's global query.
        num_heads: Attention heads of each level.
        mlp_ratio: Hidden width of a block's MLP over the block's width.
        layer_scale: Initial value of the layer scales, `None` for none.
        se_divisor: Squeezed widths are rounded to multiples of this: 1 as in
            the official code, 8 as in timm. They differ only where a quarter
            of a width is no multiple of 8, so in no published variant.
        include_top: Whether to end in the classifier. Otherwise the model
            ends in the normalised last feature map, or in its `pooling`.
        include_preprocessing: Whether the model takes RGB or grey pixels in
            [0, 255] and normalises inside. Inputs of other channels pass
            through.
        weights: `None` for random ones; or, with a constructor of a variant,
            the name of one of its `PRESETS`, such as `"imagenet"` (with
            `GCViT`, a `Preset`), which is downloaded once; or the path of a
            checkpoint: `.safetensors`, `.pth` or `.pth.tar` in the naming of
            timm or of the official code, or Keras's `.weights.h5`. See
            `load_weights` for other classes, windows and input channels.
        input_tensor: Keras tensor `(batch, height, width, channels)` to
            build upon, in place of a new input.
        input_shape: `(height, width, channels)`; height and width may be
            `None`. Default: with the top the preset's resolution, else
            `(224, 224, 3)`; `(None, None, 3)` without the top.
        pooling: Without the top: `None`, `"avg"` or `"max"`. Not used with
            the top, as in `keras.applications`.
        classes: Number of classes of the classifier.
        classifier_activation: Activation of the classifier; `None` for
            logits.
        name: Name of the model.
        drop_path_rate: Stochastic depth rate of the last block, in [0, 1),
            growing linearly from 0 at the first. Default: the variant's own,
            0 for `GCViT`.
        window_size: Windows of the four levels in pixels of their feature
            maps, each an integer or `(height, width)`. `None`: a 32nd, a
            32nd, a 16th and a 32nd of each side of an input whose sides 32
            divides (7, 7, 14, 7 at 224), as in timm; else the preset's, else
            7, 7, 14, 7. Feature maps that windows do not divide are padded.

    Returns:
        A functional `keras.Model` of the layers `stem`; for each level i
        `level_i_query` (not where there is one block only),
        `level_i_block_0` and on, and, but for the last, `level_i_downsample`;
        then `norm`, `pool` and `predictions`.

    Raises:
        ValueError: For an argument out of range, or a checkpoint that does
            not fit this model.
        DownloadError: If a preset cannot be downloaded.

    Examples:
    >>> import gcvit_keras, keras
    >>> model = gcvit_keras.GCViT(
    ...     embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8),
    ...     mlp_ratio=3, classes=10)
    >>> tuple(model(keras.ops.zeros((1, 224, 224, 3))).shape)
    (1, 10)
    """
    sizes = arguments.architecture(
        embed_dim=embed_dim,
        depths=depths,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        layer_scale=layer_scale,
        drop_path_rate=drop_path_rate,
        se_divisor=se_divisor,
    )
    classes = checks.integer("classes", classes)
    if pooling not in (None, "avg", "max"):
        raise checks.error("pooling", 'None, "avg" or "max"', pooling)
    try:
        keras.activations.get(classifier_activation)
    except ValueError:
        accepted = "None, a name that Keras knows or a callable"
        raise checks.error(
            "classifier_activation", accepted, classifier_activation
        ) from None
    preset = weights if isinstance(weights, Preset) else None
    side = preset.resolution if preset else 224
    images = arguments.image_input(
        input_tensor,
        input_shape,
        default_shape=(side, side, 3) if include_top else (None, None, 3),
    )
    windows = arguments.windows(window_size, images.shape[1:3], preset)
    if weights is not None:
        weights = prepare(weights)

    *_, x = stem_and_levels(
        images,
        **sizes,
        windows=windows,
        include_preprocessing=include_preprocessing,
    )
    x = LayerNorm(name=structure.FINAL_NORM)(x)
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name=structure.POOL)(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name=structure.POOL)(x)
    if include_top:
        x = head(classes, classifier_activation, _head_dtype())(x)
    model = keras.Model(arguments.source(images), x, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def head(classes, activation, dtype) -> keras.layers.Dense:
    """Makes a classifier, a dense layer, to put upon the pooled features."""
    return keras.layers.Dense(
        classes,
        activation=activation,
        kernel_initializer=linear_initializer(),
        dtype=dtype,
        name=structure.HEAD,
    )


def _head_dtype():
    """Scores stay float32 under mixed precision, as Keras's guide asks."""
    policy = keras.config.dtype_policy()
    return policy.variable_dtype if "mixed" in policy.name else policy
