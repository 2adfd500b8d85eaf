"""The published checkpoints, one row each: where they are, what they are for.

Sources: timm's release files, whose top-1 timm measured at crop 0.875, and
the authors' Hugging Face repository `nvidia/GCViT`, with the accuracies and
crops they published.
"""

from dataclasses import dataclass

from gcvit_keras.variants import VARIANTS, WEIGHTS_LICENCE

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PIXEL_MEAN = tuple(255 * x for x in IMAGENET_MEAN)
PIXEL_STD = tuple(255 * x for x in IMAGENET_STD)
"""Mean and deviation of RGB pixels in [0, 255]."""

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
        name: Its name in `weights` of the variant's constructor.
        file: Name of the file.
        on_hub: Whether it lies in `nvidia/GCViT` on the Hugging Face hub,
            else in timm's release.
        sha256: Begin of the file's SHA-256; empty where nothing but the hub
            states it.
        resolution: Side of the images it was trained for, in pixels.
        window_size: Windows of the four levels.
        top1: Published ImageNet-1K top-1 accuracy in percent.
        crop_ratio: As `load_image` takes it, for that accuracy.
        crop_mode: As `load_image` takes it.
        interpolation: As `load_image` takes it.
        classes: Number of classes.
        mean: Means of RGB in [0, 1], which the model's normalisation
            subtracts.
        std: Deviations of RGB in [0, 1], by which it then divides.
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
        """URL at which the file is published."""
        if self.on_hub:
            return f"{HUB}/{HUB_REPOSITORY}/resolve/main/{self.file}"
        return f"{TIMM_RELEASE}/{self.file}"


# fmt: off
PRESETS: tuple[Preset, ...] = (
    *(
        Preset(name, "imagenet", f"gcvit_{name}_224_nvidia-{sha256}.pth", False,
               sha256, 224, (7, 7, 14, 7), top1, 0.875)
        for name, sha256, top1 in (
            ("xxtiny", "d1d86009", 79.76),
            ("xtiny", "274b92b7", 81.96),
            ("tiny", "ac783954", 83.40),
            ("small", "4e98afa2", 83.90),
            ("base", "f009139b", 84.46),
        )
    ),
    *(
        Preset(v.name, "nvidia", f"gcvit_1k_{v.name}.pth.tar", True, "",
               224, (7, 7, 14, 7), v.top1, v.crop_ratio)
        for v in VARIANTS.values()
    ),
    Preset("large", "nvidia_21k_384", "gcvit_21k_large_384.pth.tar", True, "",
           384, (12, 12, 24, 12), 87.4, 1.0, "squash"),
    Preset("large", "nvidia_21k_512", "gcvit_21k_large_512.pth.tar", True, "",
           512, (16, 16, 32, 16), 87.6, 1.0, "squash"),
)
# fmt: on


def find_preset(variant, name) -> Preset | None:
    """Finds the checkpoint that a constructor's `weights` names.

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
