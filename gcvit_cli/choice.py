"""The classifier that a command is asked for, published or a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcvit_cli.artifacts import in_run
from gcvit_cli.console import UsageError, import_tensorflow

DEFAULT = "tiny"
"""The variant that is meant where neither a model nor a variant is named."""


@dataclass(frozen=True)
class Choice:
    """A classifier and how it sees images.

    Attributes:
        name: What the user called it, for messages.
        model: Path of the model, or `None` for a variant.
        variant: Name of the variant, or `None`.
        weights: Its weights: name of a preset, or path of a checkpoint.
        labels: Path of the class names, `imagenet`, or `None`.
        reader: `gcvit_keras.ImageReader`; its size counts for a model that
            takes any.
    """

    name: str
    model: Path | None
    variant: str | None
    weights: str | None
    labels: Path | None
    reader: Any

    def reader_for(self, shape):
        """Makes the reader of a model's images.

        `shape` is `(height, width, channels)`; height and width may be `None`.
        """
        sides = zip(shape, self.reader.size, strict=False)
        size = tuple(side or default for side, default in sides)
        return self.reader.replace(size=size, channels=shape[2])


def choose(model, variant, weights, labels, crop_ratio):
    """Finds the `Choice` that `--model`, `--variant` and `--weights` ask for.

    Imports TensorFlow. `model` may be a model, an export or a run; `weights` is
    the name of a preset or the path of a checkpoint. Raises a `UsageError` if
    they do not go together, a `ValueError` if there is no such model.
    """
    if model is not None and variant is not None:
        raise UsageError("give either --model or --variant, not both")
    if model is not None and weights is not None:
        raise UsageError("--weights goes with --variant, not with --model")
    if model is not None:
        path = in_run(model)
        import_tensorflow()
        from gcvit_keras import ImageReader

        reader = ImageReader.of(model) or ImageReader(224)
        reader = reader.replace(crop_ratio=crop_ratio)
        return Choice(f"--model {model}", path, None, None, labels, reader)
    import_tensorflow()
    from gcvit_keras import ImageReader, find_preset
    from gcvit_keras.variants import VARIANTS

    weights = weights or "imagenet"
    if variant is None and find_preset(DEFAULT, weights) is None:
        raise UsageError(f"--weights {weights} needs --variant")
    variant = variant or DEFAULT
    reader = ImageReader(224, VARIANTS[variant].crop_ratio)
    preset = find_preset(variant, weights)
    if preset is not None:
        labels = labels or Path("imagenet")
        reader = ImageReader(
            preset.resolution,
            preset.crop_ratio,
            preset.crop_mode,
            preset.interpolation,
        )
    reader = reader.replace(crop_ratio=crop_ratio)
    name = f"--variant {variant} --weights {weights}"
    return Choice(name, None, variant, weights, labels, reader)
