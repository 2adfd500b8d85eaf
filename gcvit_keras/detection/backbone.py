"""The backbone of a detector: the official one, or the user's own."""

from gcvit_keras import checks
from gcvit_keras.models.backbone import GCViTBackbone
from gcvit_keras.variants import VARIANTS
from gcvit_keras.weights.presets import IMAGENET_MEAN


def detection_backbone(backbone, weights=None, dtype=None):
    """Makes the official detection backbone of a variant.

    Args:
        backbone: Name of a variant; a `GCViTBackbone` is returned as it is.
        weights: As of `GCViTBackbone`.
        dtype: As of `GCViTBackbone`.

    Returns:
        `GCViTBackbone`.

    Raises:
        ValueError: If it is neither, or the weights do not fit.
    """
    if isinstance(backbone, GCViTBackbone):
        return backbone
    checks.one_of("backbone", backbone, VARIANTS)
    return GCViTBackbone(
        backbone,
        window_size=(24, 24, 24, 24),
        query_pools=(3, 2, 1, 0),
        level_norms=True,
        weights=weights,
        dtype=dtype,
        name="backbone",
    )


def padding_pixel(backbone):
    """The pixel that is zeros to a backbone after its normalisation.

    Args:
        backbone: A `GCViTBackbone`.

    Returns:
        Three numbers: ImageNet's mean where the backbone normalises.
    """
    if backbone.get_config()["include_preprocessing"]:
        return [255 * mean for mean in IMAGENET_MEAN]
    return [0.0, 0.0, 0.0]
