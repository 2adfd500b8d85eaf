"""Options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

VariantName = StrEnum(
    "VariantName",
    "xxtiny xtiny tiny tiny2 small small2 base large",
)
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON for a program to read.")
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="Class names, one a line. Default: labels.txt beside the model, "
        "where there is one.",
    ),
]
Variant = Annotated[
    VariantName | None,
    typer.Option(
        help="In place of --model: a published variant. Default: tiny, "
        "with --weights imagenet or nvidia."
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
WeightsLabels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="Class names, one a line. Default: labels.txt beside the "
        "model, where there is one; ImageNet's with --weights NAME.",
    ),
]
