"""Backbones of detectors and segmenters, which give a pyramid of maps."""

from gcvit_keras import checks
from gcvit_keras.models.backbone import GCViTBackbone
from gcvit_keras.variants import VARIANTS

LEVELS = ("P2", "P3", "P4", "P5")
"""Maps that a backbone gives, from fine to coarse."""


def pyramid_backbone(backbone, **arguments):
    """Makes a backbone with a norm on each map.

    Args:
        backbone: Name of a variant; a `GCViTBackbone` is returned as it is.
        **arguments: Of `GCViTBackbone`, for one that is given by name.

    Returns:
        `GCViTBackbone`.

    Raises:
        ValueError: If it is neither, or an argument does not fit.
        DownloadError: If a preset cannot be downloaded.
    """
    if isinstance(backbone, GCViTBackbone):
        return backbone
    checks.one_of("backbone", backbone, VARIANTS)
    return GCViTBackbone(
        backbone, level_norms=True, name="backbone", **arguments
    )
