"""The sizes of a GC ViT in a recipe, where no variant's name says them."""

from typing import ClassVar

import pydantic

from gcvit_training.config import FourPositive, Positive, Strict

SIZES = ("embed_dim", "depths", "num_heads", "mlp_ratio")
"""Settings that a variant's name fixes."""


class Architecture(Strict):
    """A GC ViT by the name of a variant, or by its sizes.

    Attributes:
        VARIANT: Name of the field that names a variant.
        BRINGS_ITS_OWN: Whether a `.keras` file as `weights` is a whole model,
            which needs neither.
        embed_dim: Channels of the first level; each further one has twice as
            many.
        depths: Number of blocks of each level.
        num_heads: Number of attention heads of each level.
        mlp_ratio: Width of the blocks' MLPs, as a factor on the channels.
        weights: Path of a checkpoint, among others.
    """

    VARIANT: ClassVar = "backbone"
    BRINGS_ITS_OWN: ClassVar = True

    weights: str | None = None
    embed_dim: pydantic.PositiveInt | None = None
    depths: FourPositive | None = None
    num_heads: FourPositive | None = None
    mlp_ratio: Positive | None = None

    @property
    def sizes(self):
        """The sizes by name, `None` for those that are not given."""
        return {name: getattr(self, name) for name in SIZES}

    @property
    def is_keras_file(self):
        """Whether `weights` is a whole model."""
        return self.BRINGS_ITS_OWN and (self.weights or "").endswith(".keras")

    @pydantic.model_validator(mode="after")
    def _is_one_architecture(self):
        variant = getattr(self, self.VARIANT)
        given = [name for name, size in self.sizes.items() if size is not None]
        missing = [name for name in SIZES if name not in given]
        if variant is not None and given:
            raise ValueError(
                f"`model.{self.VARIANT}` fixes {', '.join(given)}: give one "
                "or the other"
            )
        if given and missing:
            raise ValueError(
                f"`model.{missing[0]}` is missing, or `model.{self.VARIANT}`"
            )
        if variant is None and not given and not self.is_keras_file:
            file = ", or a .keras file as `weights`" * self.BRINGS_ITS_OWN
            raise ValueError(
                f"`model` must have `{self.VARIANT}`, or "
                f"{', '.join(f'`{name}`' for name in SIZES)}{file}"
            )
        return self
