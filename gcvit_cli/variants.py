"""`gcvit list`."""

import dataclasses
import json as json_module

from rich.table import Table

from gcvit_cli.console import console, import_tensorflow


def run(json):
    """Prints the published variants.

    Args:
        json: Whether to print JSON in place of a table.
    """
    import_tensorflow()
    from gcvit_keras.variants import VARIANTS, WEIGHTS_LICENCE

    if json:
        rows = [
            {**dataclasses.asdict(v), "licence": WEIGHTS_LICENCE}
            for v in VARIANTS.values()
        ]
        print(json_module.dumps(rows, indent=2))
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
            WEIGHTS_LICENCE,
        )
    console.print(table)
