"""Options that several commands have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

VariantName = StrEnum(
    "VariantName", "xxtiny xtiny tiny tiny2 small small2 base large"
)


def _check_ratio(ratio):
    if ratio is not None and not 0 < ratio <= 1:
        raise typer.BadParameter(f"{ratio} is not in (0, 1].")
    return ratio


Json = Annotated[
    bool, typer.Option("--json", help="Print JSON for a program to read.")
]
CropRatio = Annotated[
    float | None,
    typer.Option(
        callback=_check_ratio,
        help="Share of an image's shorter side that is seen. Default: the "
        "run's or the published one, else 1.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Images to compare on: digits, a name that TFDS knows, or a "
        "folder. Default: photographs.",
    ),
]
Split = Annotated[
    str | None, typer.Option(help="Split to compare on. Default: test.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of TFDS's datasets.")
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="Class names, one per line. Default: labels.txt beside the "
        "model; ImageNet's with published weights.",
    ),
]
ActivationName = StrEnum("ActivationName", "auto softmax sigmoid none")
Activation = Annotated[
    ActivationName,
    typer.Option(
        help="What outputs without an activation need. auto: what the loss "
        "that the model was compiled with tells."
    ),
]
Variant = Annotated[
    VariantName | None,
    typer.Option(
        help="In place of --model: a published variant. Default: tiny."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="The variant's weights: a name that `gcvit list --presets` "
        "shows, or a .safetensors or .pth file. Default: imagenet.",
    ),
]
