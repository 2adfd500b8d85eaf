"""Options that commands share."""

from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print JSON for a program to read.")
]
