"""The published checkpoints, one row each: where they are, what they are for.

Sources: timm's release files, whose top-1 timm measured at crop 0.875, and
the authors' Hugging Face repository `nvidia/GCViT`, with the accuracies and
crops they published.
"""

from dataclasses import dataclass

from gcvit_keras.variants import VARIANTS, WEIGHTS_LICENCE

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

TIMM_RELEASE = (
    "https://github.com/huggingface/pytorch-image-models/releases/download/"
    "v0.1-weights-morevit"
)
HUB = "https://huggingface.co"
HUB_REPOSITORY = "nvidia/GCViT"


@dataclass(frozen=True)
class Preset:
    """A published checkpoint of ImageNet-1K's 1000 classes.

    Attributes:
        variant: Key in `VARIANTS`.
        name: What the variant's constructor calls it in `weights`.
        file: Name of the file.
        on_hub: Whether it lies in `nvidia/GCViT` on the Hugging Face hub,
            else in timm's release.
        sha256: What the file's SHA-256 begins with; empty where nothing but
            the hub states it.
        resolution: Side of the images it was trained for, in pixels.
        window_size: Windows of the four levels.
        top1: Published ImageNet-1K top-1 accuracy in percent.
        crop_ratio: As `load_image` takes it, for that accuracy.
        crop_mode: As `load_image` takes it.
        interpolation: As `load_image` takes it.
        classes: Number of classes.
        mean: Of RGB in [0, 1], what the model's normalisation subtracts.
        std: What it then divides by.
        licence: Licence of the weights.

    Examples:
    >>> from gcvit_keras import find_preset
    >>> preset = find_preset("tiny", "imagenet")
    >>> print(preset.top1, preset.resolution, preset.crop_ratio)
    83.4 224 0.875
    """

    variant: str
    name: str
    file: str
    on_hub: bool
    sha256: str
    resolution: int
    window_size: tuple[int, int, int, int]
    top1: float
    crop_ratio: float
    crop_mode: str = "center"
    interpolation: str = "bicubic"
    classes: int = 1000
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = WEIGHTS_LICENCE

    @property
    def url(self):
        """Where the file is published."""
        if self.on_hub:
            return f"{HUB}/{HUB_REPOSITORY}/resolve/main/{self.file}"
        return f"{TIMM_RELEASE}/{self.file}"


def _timm(variant, sha256, top1):
    file = f"gcvit_{variant}_224_nvidia-{sha256}.pth"
    return Preset(
        variant,
        "imagenet",
        file,
        False,
        sha256,
        224,
        (7, 7, 14, 7),
        top1,
        0.875,
    )


def _nvidia(name):
    variant = VARIANTS[name]
    return Preset(
        variant.name,
        "nvidia",
        f"gcvit_1k_{variant.name}.pth.tar",
        True,
        "",
        224,
        (7, 7, 14, 7),
        variant.top1,
        variant.crop_ratio,
    )


# fmt: off
PRESETS: tuple[Preset, ...] = (
    _timm("xxtiny", "d1d86009", 79.76),
    _timm("xtiny", "274b92b7", 81.96),
    _timm("tiny", "ac783954", 83.40),
    _timm("small", "4e98afa2", 83.90),
    _timm("base", "f009139b", 84.46),
    _nvidia("xxtiny"),
    _nvidia("xtiny"),
    _nvidia("tiny"),
    _nvidia("tiny2"),
    _nvidia("small"),
    _nvidia("small2"),
    _nvidia("base"),
    _nvidia("large"),
    Preset("large", "nvidia_21k_384", "gcvit_21k_large_384.pth.tar", True, "",
           384, (12, 12, 24, 12), 87.4, 1.0, "squash"),
    Preset("large", "nvidia_21k_512", "gcvit_21k_large_512.pth.tar", True, "",
           512, (16, 16, 32, 16), 87.6, 1.0, "squash"),
)
# fmt: on


def find_preset(variant, name) -> Preset | None:
    """The checkpoint that a constructor's `weights` names.

    Args:
        variant: Key in `VARIANTS`.
        name: Such as `"imagenet"`, which is `"nvidia"` where timm has none.

    Returns:
        `Preset`, or `None` if the variant has none of that name.

    Examples:
    >>> from gcvit_keras import find_preset
    >>> print(find_preset("tiny", "imagenet").file)
    gcvit_tiny_224_nvidia-ac783954.pth
    >>> print(find_preset("tiny", "cifar10"))
    None
    """
    of_variant = {p.name: p for p in PRESETS if p.variant == variant}
    of_variant.setdefault("imagenet", of_variant.get("nvidia"))
    return of_variant.get(name) if isinstance(name, str) else None
