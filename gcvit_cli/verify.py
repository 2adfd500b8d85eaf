"""`gcvit verify`."""

from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import load_compiled, model_file
from gcvit_cli.comparison import Source, print_verification, served_size
from gcvit_cli.console import import_tensorflow, print_json, quietly
from gcvit_cli.options import (
    Activation,
    ActivationName,
    Data,
    DataDir,
    Json,
    Split,
)

EXAMPLE = "gcvit verify photos.tflite --against run --data photos"


def command(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT",
            help="A .tflite or .onnx file, or a SavedModel folder.",
        ),
    ],
    against: Annotated[
        Path,
        typer.Option(help="The .keras file that it came from, or the run."),
    ],
    activation: Activation = ActivationName.auto,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    json: Json = False,
):
    """Check that an export computes what its model does."""
    source = Source(data, data_dir, split)
    source.check(calibrates=False)
    import_tensorflow()
    import gcvit_export
    from gcvit_export.runner import Artifact
    from gcvit_export.served import served

    against = model_file(against)
    with quietly():
        model = load_compiled(against)
        told = None if activation == "none" else activation.value
        images = None
        if data is not None:
            kind = served(model, told)
            source.check_kind(kind)
            shape = kind.shape
            if None in shape:  # a file may have a size where its model has none
                shape = Artifact(artifact).shape
            size = served_size(kind, shape)
            images = source.verification(against, model, size)
        report = gcvit_export.verify(
            artifact, model, images, activation=told
        ).as_dict()
    if json:
        print_json({"artifact": str(artifact), **report})
    else:
        print_verification(report)
