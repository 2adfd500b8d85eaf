"""`gcvit evaluate`."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gcvit_cli.artifacts import open_model
from gcvit_cli.console import (
    UsageError,
    as_json,
    console,
    import_tensorflow,
    print_json,
)
from gcvit_cli.options import CropRatio, DataDir, Json

EXAMPLE = "gcvit evaluate model.tflite --data photos --split test"

WORST = 5
"""Classes that are printed."""


def command(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT",
            help="Folder of a run, a .keras or .tflite file, or a SavedModel.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="digits, a name that TFDS knows, or a folder. Default: a "
            "run's own.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Default: a run's own, else test."),
    ] = None,
    data_dir: DataDir = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the images, for a model that takes any."
        ),
    ] = None,
    crop_ratio: CropRatio = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images at once.")
    ] = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json and confusion.png. Default: the "
            "run."
        ),
    ] = None,
    json: Json = False,
):
    """Measure accuracy, loss and calibration of a model or an export."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    from gcvit_training import evaluate, read_config
    from gcvit_training.config import DataConfig
    from gcvit_training.data import evaluation_batches
    from gcvit_training.plots import confusion_picture
    from gcvit_training.run_folder import RunFolder
    from gcvit_training.sources import check_split, open_source

    settings, path = {}, artifact
    if (artifact / "config.yaml").is_file():
        path = artifact / "model.keras"
        if not path.is_file():
            raise ValueError(f"{artifact} is a run that has not ended")
        settings = read_config(artifact / "config.yaml").data.model_dump()
        out = out or artifact
        if data is None and data_dir is None:
            data_dir = artifact / "data"
    if data is None and not settings:
        raise UsageError("--data is missing")
    predict, shape = open_model(path)
    if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1]:
        raise ValueError(f"{path} does not take square RGB images")
    given = {
        "dataset": data,
        "evaluation_split": split,
        "crop_ratio": crop_ratio,
    }
    given |= {"image_size": size or shape[0], "batch_size": batch_size}
    settings |= {name: v for name, v in given.items() if v is not None}
    if settings.get("image_size") is None:
        raise ValueError(f"{path} takes images of any size: give --size")
    if shape[0] not in (None, settings["image_size"]):
        raise ValueError(
            f"--size must be the {shape[0]} of {path}. "
            f"Received: {settings['image_size']}"
        )
    defaults = {"crop_ratio": 1.0, "crop_mode": "center"}
    settings = {**defaults, "interpolation": "bicubic", **settings}
    config = DataConfig(**settings)
    split = config.evaluation_split
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        source = open_source(config.dataset, data_dir, config.holdout)
    check_split(source, split, "--split")
    evaluation = evaluate(
        lambda images: predict(images.astype("float32")),
        evaluation_batches(source, split, config, batch_size),
    )
    result = {
        "artifact": str(path),
        "dataset": config.dataset,
        "split": split,
        "labels": list(source.names),
        **evaluation.as_dict(),
    }
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder = RunFolder(out)
            folder.write_text("evaluation.json", as_json(result))
            confusion_picture(evaluation, source.names, out / "confusion.png")
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from error
    if json:
        print_json(result)
    else:
        _print(result, evaluation, out)


def _print(result, evaluation, out):
    table = Table(title=f"{evaluation.images} images of {result['split']}")
    table.add_column(Path(result["artifact"]).name)
    table.add_column("", justify="right")
    table.add_row("top-1", f"{evaluation.top1:.2%}")
    if evaluation.top5 is not None:
        table.add_row("top-5", f"{evaluation.top5:.2%}")
    table.add_row("loss", f"{evaluation.loss:.4f}")
    table.add_row("calibration error", f"{evaluation.calibration_error:.4f}")
    console.print(table)
    if evaluation.left_out:
        console.print(f"{evaluation.left_out} images cannot be read.")
    known = [c for c in evaluation.per_class if c["images"]]
    known.sort(key=lambda c: c["accuracy"])
    console.print("Worst classes:")
    for found in known[:WORST]:
        name = result["labels"][found["class"]]
        console.print(
            f"  {found['accuracy']:7.2%}  {name} ({found['images']} images)"
        )
    if out is not None:
        console.print(
            f"Wrote {out / 'evaluation.json'} and {out / 'confusion.png'}.",
            soft_wrap=True,
        )
