"""The published variants as constructors, as `keras.applications` has them."""

import keras

from gcvit_keras.models import arguments
from gcvit_keras.models.classifier import GCViT
from gcvit_keras.variants import VARIANTS


def _build(variant, *, weights, drop_path_rate, **keywords) -> keras.Model:
    published = VARIANTS[variant]
    if drop_path_rate is None:
        drop_path_rate = published.drop_path_rate
    return GCViT(
        embed_dim=published.embed_dim,
        depths=published.depths,
        num_heads=published.num_heads,
        mlp_ratio=published.mlp_ratio,
        layer_scale=published.layer_scale,
        weights=arguments.named_weights(variant, weights),
        drop_path_rate=drop_path_rate,
        **keywords,
    )


def GCViTXXTiny(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_xxtiny",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT xxtiny: 12.0 M parameters, 79.9% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.2.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTXXTiny(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("xxtiny", **locals())


def GCViTXTiny(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_xtiny",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT xtiny: 20.0 M parameters, 82.0% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.2.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTXTiny(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("xtiny", **locals())


def GCViTTiny(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_tiny",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT tiny: 28.2 M parameters, 83.5% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.2.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTTiny(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("tiny", **locals())


def GCViTTiny2(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_tiny2",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT tiny2: 34.5 M parameters, 83.7% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.25.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTTiny2(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("tiny2", **locals())


def GCViTSmall(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_small",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT small: 51.1 M parameters, 84.3% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.3.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTSmall(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("small", **locals())


def GCViTSmall2(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_small2",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT small2: 68.6 M parameters, 84.8% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.35.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTSmall2(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("small2", **locals())


def GCViTBase(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_base",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT base: 90.3 M parameters, 85.0% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.5.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTBase(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("base", **locals())


def GCViTLarge(
    include_top=True,
    include_preprocessing=True,
    weights="imagenet",
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="gcvit_large",
    *,
    drop_path_rate=None,
    window_size=None,
) -> keras.Model:
    """GC ViT large: 202.1 M parameters, 85.7% published top-1.

    Args:
        include_top: Whether to end in the classifier, else in feature maps.
        include_preprocessing: Whether the input is pixels in [0, 255].
        weights: `"imagenet"`, another preset's name, a `Preset`, the path of
            a checkpoint, or `None` for random weights.
        input_tensor: Keras tensor to build upon, in place of a new input.
        input_shape: `(height, width, channels)`; see `GCViT` for the default.
        pooling: Without the top: `None`, `"avg"` or `"max"`.
        classes: Number of classes, a positive integer.
        classifier_activation: Activation of the head; `None` for logits.
        name: Name of the model.
        drop_path_rate: Rate of the last block, in [0, 1). Default: 0.5.
        window_size: Windows of the four levels. Default: see `GCViT`.

    Returns:
        `keras.Model`, as `GCViT` describes it and what it may raise.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.GCViTLarge(weights=None, classes=10).output_shape
    (None, 10)
    """
    return _build("large", **locals())


CONSTRUCTORS = {
    "xxtiny": GCViTXXTiny,
    "xtiny": GCViTXTiny,
    "tiny": GCViTTiny,
    "tiny2": GCViTTiny2,
    "small": GCViTSmall,
    "small2": GCViTSmall2,
    "base": GCViTBase,
    "large": GCViTLarge,
}
"""The constructor of each variant, by the name in `VARIANTS`."""
