"""Backbones of detectors and segmenters, which give a pyramid of maps."""

from gcvit_keras import checks
from gcvit_keras.models.backbone import GCViTBackbone
from gcvit_keras.variants import VARIANTS

LEVELS = ("P2", "P3", "P4", "P5")
"""Maps that a backbone gives, from fine to coarse."""


def pyramid_backbone(backbone, **arguments):
    """Makes a backbone with a norm on each map, of the name of a variant.

    The arguments are those of `GCViTBackbone`, as are the errors; a
    `GCViTBackbone` is returned as it is.
    """
    if isinstance(backbone, GCViTBackbone):
        return backbone
    checks.one_of("backbone", backbone, VARIANTS)
    return GCViTBackbone(
        backbone, level_norms=True, name="backbone", **arguments
    )
