"""`gcvit evaluate`."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import find_labels, in_run, open_model
from gcvit_cli.console import (
    UsageError,
    as_json,
    console,
    import_tensorflow,
    named_options,
    note_line,
    print_json,
    print_page,
)
from gcvit_cli.dataset import open_source, reader_for
from gcvit_cli.options import CropRatio, DataDir, Json, Labels
from gcvit_cli.predictors import kind_of

EXAMPLE = "gcvit evaluate model.tflite --data photos --split test"


def command(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT",
            help="Folder of a run, a .keras, .tflite or .onnx file, or a "
            "SavedModel.",
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
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A setting of data, such as data.window=512 of a segmenter.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json and confusion.png. Default: the "
            "run, where its own data are."
        ),
    ] = None,
    json: Json = False,
):
    """Measure how good a model or an export is on labelled data.

    Of a classifier accuracy, loss and calibration; of other tasks what their
    reports say. Classes are matched by name where the model has labels.
    """
    path = in_run(artifact)
    is_run = path != artifact
    if data == "":
        raise UsageError("--data is empty")
    if data is None and not is_run:
        raise UsageError(f"--data is missing: {artifact} is no folder of a run")
    import_tensorflow()
    from gcvit_training import read_config
    from gcvit_training.data import evaluation_batches
    from gcvit_training.evaluator import evaluate, predict_in_graph
    from gcvit_training.run_folder import RunFolder
    from gcvit_training.tasks import find_task

    overrides = overrides or []
    if any(not o.startswith("data.") for o in overrides):
        raise UsageError(f"--set must be of data: {overrides}")
    config = None
    if is_run:
        config = read_config(artifact / "config.yaml", overrides)
    if is_run and data is None:
        out = out or artifact
        data_dir = data_dir or artifact / "data"
    model = open_model(path)
    predictor = kind_of(model)
    kind = find_task(config.task if is_run else predictor.task)
    reader = None
    if kind.reads_one_size:
        shape = getattr(model, "shape", None) or model.input_shape[1:]
        reader = reader_for(path, shape, size, crop_ratio)
    elif size or crop_ratio:
        raise UsageError("--size and --crop-ratio are not for this model")
    split = split or (config.data.evaluation_split if is_run else "test")
    with named_options({"overrides": "--set"}):
        config = kind.to_evaluate(
            config,
            path,
            reader,
            overrides,
            dataset=data or config.data.dataset,
            train_split=split,  # no other has to be there
            evaluation_split=split,
            batch_size=batch_size,
        )
    task = kind(config, open_source(kind, config, data_dir))
    names = find_labels(labels, path, None)
    for line in task.use_classes(names, str(labels or path)):
        note_line(line)

    if path.suffix == ".keras":
        predict = predict_in_graph(task, model)
    else:
        predict = functools.partial(task.predict, predictor.network(model))
    evaluator = evaluate(
        task.evaluator(), predict, evaluation_batches(task, split, batch_size)
    )
    result = {
        "artifact": str(path),
        "dataset": config.data.dataset,
        "split": split,
        "labels": list(task.names),
        **evaluator.result(),
    }
    folder = None
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder = RunFolder(out)
            folder.write_text("evaluation.json", as_json(result))
            page = task.page(result, folder)
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from error
    else:
        page = task.page(result)
    if json:
        print_json(result)
        return
    console.print(task.headline(result), soft_wrap=True)
    print_page([line for line in page if not line.startswith("![")])
    if out is not None:
        console.print(
            f"Wrote {out / 'evaluation.json'} and its pictures.",
            soft_wrap=True,
        )
