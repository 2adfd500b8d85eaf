"""`gcvit list`."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from gcvit_cli.console import console, import_tensorflow, print_json
from gcvit_cli.options import Json

EXAMPLE = "gcvit list --presets"


def command(
    presets: Annotated[
        bool,
        typer.Option(
            "--presets", help="List the published weights and their licence."
        ),
    ] = False,
    json: Json = False,
):
    """List the published variants, or their weights."""
    import_tensorflow()
    if presets:
        _print_presets(json)
        return
    from gcvit_keras.variants import VARIANTS
    from gcvit_keras.weights import PRESETS

    licences = {p.variant: p.licence for p in PRESETS}
    if json:
        rows = [
            {**dataclasses.asdict(v), "licence": licences.get(v.name)}
            for v in VARIANTS.values()
        ]
        print_json(rows)
        return
    table = Table(title="GC ViT at 224 x 224")
    table.add_column("variant")
    for column in ("parameters", "GMACs", "top-1 %", "crop"):
        table.add_column(column, justify="right")
    table.add_column("licence of the weights")
    for v in VARIANTS.values():
        table.add_row(
            v.name,
            f"{v.parameters:,}",
            f"{v.gmacs:.2f}",
            f"{v.top1}",
            f"{v.crop_ratio}",
            licences.get(v.name, "none published"),
        )
    console.print(table)


def _print_presets(json):
    from gcvit_keras.weights import PRESETS

    if json:
        rows = [{**dataclasses.asdict(p), "url": p.url} for p in PRESETS]
        print_json(rows)
        return
    table = Table(title="Published weights, of 1000 ImageNet classes")
    table.add_column("variant")
    table.add_column("weights")
    for column in ("top-1 %", "pixels", "windows", "crop"):
        table.add_column(column, justify="right")
    for p in PRESETS:
        table.add_row(
            p.variant,
            p.name,
            f"{p.top1}",
            f"{p.resolution}",
            " ".join(map(str, p.window_size)),
            f"{p.crop_ratio} {p.crop_mode}",
        )
    console.print(table)
    for p in {(p.licence, p.mean, p.std): p for p in PRESETS}.values():
        console.print(
            f"Licence of all: {p.licence}: attribution, non-commercial, share "
            f"alike. Normalised inside by mean {p.mean} and deviation {p.std}. "
            "imagenet of tiny2, small2 and large is nvidia. Files, addresses "
            "and checksums: gcvit list --presets --json."
        )
