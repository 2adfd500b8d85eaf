"""`gcvit evaluate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gcvit_cli.artifacts import find_labels, in_run, open_model
from gcvit_cli.console import (
    UsageError,
    as_json,
    console,
    import_tensorflow,
    note_line,
    print_json,
)
from gcvit_cli.dataset import open_split, reader_for, run_data
from gcvit_cli.options import CropRatio, DataDir, Json, Labels

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
    labels: Labels = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images at once.")
    ] = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json and confusion.png. Default: the "
            "run, where its own data are."
        ),
    ] = None,
    json: Json = False,
):
    """Measure accuracy, loss and calibration of a model or an export.

    Classes are matched by name where the model has labels.
    """
    import numpy as np

    path = in_run(artifact)
    if data is None and path == artifact:
        raise UsageError(f"--data is missing: {artifact} is no folder of a run")
    import_tensorflow()
    from gcvit_training.run_folder import RunFolder
    from gcvit_training.tasks.classification import evaluate
    from gcvit_training.tasks.classification.plots import confusion_picture

    run = run_data(artifact) if path != artifact else None
    if run and data is None:
        out = out or artifact
        data_dir = data_dir or artifact / "data"
    predict, shape = open_model(path)
    split = split or (run.evaluation_split if run else "test")
    source, batches = open_split(
        data or run.dataset,
        data_dir,
        split,
        reader_for(path, shape, size, crop_ratio),
        batch_size,
        option="--split",
        holdout=run and run.holdout,
    )
    names, in_model = _match(path, labels, data or run.dataset, source.names)
    evaluation = evaluate(
        lambda images: predict(images.astype("float32")),
        (
            (images, np.asarray(truth) @ in_model, weights)
            for images, truth, weights in batches(source)
        ),
    )
    result = {
        "artifact": str(path),
        "dataset": data or run.dataset,
        "split": split,
        "labels": names,
        **evaluation.as_dict(),
    }
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder = RunFolder(out)
            folder.write_text("evaluation.json", as_json(result))
            confusion_picture(result, names, out / "confusion.png")
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from error
    if json:
        print_json(result)
    else:
        _print(result, evaluation, out)


def _match(path, labels, dataset, classes):
    """Finds the classes of a dataset among those of a model, by name.

    Args:
        path: Path of the model.
        labels: Path of its class names, or `None` for those beside it.
        dataset: What the dataset is called.
        classes: Names of its classes.

    Returns:
        Names of the model's classes, and float32 array `(classes of the
        dataset, classes of the model)` with a 1 in each row.

    Raises:
        ValueError: If the model does not know one of the classes.
    """
    import numpy as np

    names = find_labels(labels, path, None)
    if names is None or names == [f"class {k}" for k in range(len(names))]:
        note_line(
            f"{path} has no labels.txt: its classes are taken to be those of "
            f"{dataset}, in their order"
        )
        names = list(classes)
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(
            f"{dataset} has classes that {path} does not know: "
            f"{', '.join(unknown[:WORST])} ({len(unknown)} of {len(classes)})"
        )
    missing = [name for name in names if name not in classes]
    if missing:
        note_line(
            f"{dataset} has no images of {', '.join(missing[:WORST])} "
            f"({len(missing)} of {len(names)} classes)"
        )
    places = [names.index(name) for name in classes]
    if any(names.count(name) > 1 for name in classes):
        raise ValueError(f"{path} has two classes of one name")
    return names, np.eye(len(names), dtype="float32")[places]


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
