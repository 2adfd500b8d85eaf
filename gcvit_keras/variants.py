"""The published GC ViT variants (paper table 2 and appendix), as pure data."""

from dataclasses import dataclass

WEIGHTS_LICENCE = "CC BY-NC-SA 4.0"
"""Licence of every published GC ViT weight: non-commercial, share alike."""


@dataclass(frozen=True)
class Variant:
    """Architecture of one published model and what was published about it.

    Attributes:
        name: Key in `VARIANTS`, e.g. `"tiny"`.
        embed_dim: Channels of level 0; each later level doubles them.
        depths: Blocks in each of the four levels; even blocks attend
            locally, odd ones with the global query.
        num_heads: Attention heads of each level.
        mlp_ratio: Hidden width of a block's MLP over the block's width.
        layer_scale: Initial value of the layer scales, `None` for none.
        drop_path_rate: Stochastic depth rate of the last block.
        parameters: Parameters with the 1000-class head at 224 x 224.
        gmacs: 10^9 multiply-accumulates for one 224 x 224 image.
        top1: Published ImageNet-1K top-1 accuracy in percent at 224.
        crop_ratio: Share of the resized image kept by the published
            evaluation's centre crop.

    Examples:
    >>> from gcvit_keras import VARIANTS
    >>> VARIANTS["tiny"].depths, VARIANTS["tiny"].top1
    ((3, 4, 19, 5), 83.5)
    """

    name: str
    embed_dim: int
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]
    mlp_ratio: float
    layer_scale: float | None
    drop_path_rate: float
    parameters: int
    gmacs: float
    top1: float
    crop_ratio: float


# fmt: off
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("xxtiny", 64, (2, 2, 6, 2), (2, 4, 8, 16), 3.0, None, 0.2,
                11_995_428, 2.12, 79.9, 1.0),
        Variant("xtiny", 64, (3, 4, 6, 5), (2, 4, 8, 16), 3.0, None, 0.2,
                19_981_294, 2.91, 82.0, 0.875),
        Variant("tiny", 64, (3, 4, 19, 5), (2, 4, 8, 16), 3.0, None, 0.2,
                28_221_974, 4.76, 83.5, 1.0),
        Variant("tiny2", 64, (3, 4, 29, 5), (2, 4, 8, 16), 3.0, None, 0.25,
                34_535_654, 6.18, 83.7, 0.875),
        Variant("small", 96, (3, 4, 19, 5), (3, 6, 12, 24), 2.0, 1e-5, 0.3,
                51_092_173, 8.53, 84.3, 0.875),
        Variant("small2", 96, (3, 4, 23, 5), (3, 6, 12, 24), 3.0, 1e-5, 0.35,
                68_615_197, 11.54, 84.8, 0.875),
        Variant("base", 128, (3, 4, 19, 5), (4, 8, 16, 32), 2.0, 1e-5, 0.5,
                90_320_836, 14.82, 85.0, 1.0),
        Variant("large", 192, (3, 4, 19, 5), (6, 12, 24, 48), 2.0, 1e-5, 0.5,
                202_075_570, 32.55, 85.7, 1.0),
    )
}
# fmt: on
