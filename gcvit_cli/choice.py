"""The classifier that a command is asked for, published or a file."""

from dataclasses import dataclass, field
from pathlib import Path

from gcvit_cli.console import UsageError, import_tensorflow


@dataclass(frozen=True)
class Choice:
    """A classifier and how it sees images.

    Attributes:
        model: Path of the model, or `None` for a variant.
        variant: Name of the variant, or `None`.
        weights: Its weights: name of a preset, or path of a checkpoint.
        labels: Path of the class names, `imagenet`, or `None`.
        how: Arguments of `load_image`; empty where nothing is known.
    """

    model: Path | None
    variant: str | None
    weights: str | None
    labels: Path | None
    how: dict = field(default_factory=dict)


def choose(model, variant, weights, labels, crop_ratio):
    """What the options `--model`, `--variant` and `--weights` ask for.

    Imports TensorFlow.

    Args:
        model: Path, or `None`.
        variant: Where `model` is `None`, the name of a variant.
        weights: Name of a preset, or path of the variant's checkpoint.
        labels: Path of the class names, `imagenet`, or `None`.
        crop_ratio: Share that is seen, or `None` for the default.

    Returns:
        `Choice`.

    Raises:
        UsageError: If they do not go together.
    """
    if model is None and variant is None and weights is None:
        raise UsageError("give either --model, or --variant or --weights")
    if model is not None and variant is not None:
        raise UsageError("give either --model or --variant, not both")
    if model is not None and weights is not None:
        raise UsageError("--weights goes with --variant, not with --model")
    import_tensorflow()
    from gcvit_keras import find_preset
    from gcvit_keras.variants import VARIANTS

    how = {}
    if model is None:
        weights = weights or "imagenet"
        if variant is None and find_preset("tiny", weights) is None:
            raise UsageError(f"--weights {weights} needs --variant")
        variant = variant or "tiny"
        preset = find_preset(variant, weights)
        how["crop_ratio"] = VARIANTS[variant].crop_ratio
        if preset is not None:
            labels = labels or Path("imagenet")
            how = {
                "crop_ratio": preset.crop_ratio,
                "crop_mode": preset.crop_mode,
                "interpolation": preset.interpolation,
            }
    if crop_ratio is not None:
        how["crop_ratio"] = crop_ratio
    return Choice(model, variant, weights, labels, how)
