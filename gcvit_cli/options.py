"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
