"""`gcvit train`."""

import contextlib
import functools
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.console import (
    UsageError,
    console,
    errors,
    import_tensorflow,
    named_options,
    print_json,
    print_page,
)
from gcvit_cli.options import Json

OPTIONS = {"out": "--out", "check_data": "--check-data", "preview": "--preview"}
"""By the arguments and methods that errors of training name."""
EXAMPLE = (
    "gcvit train digits --out run --set epochs=5 "
    "--set optimizer.learning_rate=1e-3"
)


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Such as digits, finetune, detection_finetune or "
            "segmentation_finetune; or a YAML file like theirs.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run: new, empty, or of this very run, which "
            "then goes on."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="In place of the recipe's value; may be repeated.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of TFDS's datasets. Default: data in OUT."),
    ] = None,
    check_data: Annotated[
        bool,
        typer.Option(
            "--check-data",
            help="Only read every image once, and say what is there. Exits "
            "with 1 where an image or an annotation cannot be used.",
        ),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(help="Only draw augmented images, into this PNG."),
    ] = None,
    json: Json = False,
):
    """Train a GC ViT with model.fit, or go on after a crash.

    Stopped by SIGTERM it writes a checkpoint and exits with 143.
    """
    report = functools.partial(
        (errors if json else console).print, soft_wrap=True
    )
    if out is None and not (check_data or preview):
        raise UsageError("--out is missing")
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        report("Starting TensorFlow ...")
        import_tensorflow()
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        from gcvit_training import read_config

        config = read_config(recipe, overrides or [])
        with named_options(OPTIONS):
            if check_data or preview:
                task, result = _look(
                    config, out, data_dir, check_data, preview, report
                )
            else:
                result = _train(config, out, data_dir, report, verbose=not json)
    if result is None:
        return
    if json:
        print_json(result)
    elif check_data:
        print_page(task.check_page(result))
    elif not preview:
        _print_result(result)
    if check_data:
        task.check_found(result)


def _train(config, out, data_dir, report, verbose):
    from gcvit_training import train, write_report
    from gcvit_training.strategy import choose_strategy, is_chief
    from gcvit_training.tasks import open_task

    # First: that of several workers is made before anything is computed.
    strategy = choose_strategy(config.strategy)
    report(
        f"Training for {config.epochs} epochs with model.fit, on "
        f"{strategy.num_replicas_in_sync} "
        f"replica{'s' * (strategy.num_replicas_in_sync > 1)}:"
    )
    train(
        config,
        out,
        data_dir,
        strategy=strategy,
        verbose=int(verbose),
        report=report,
    )
    if not is_chief(strategy):
        return None
    task = open_task(config, data_dir or out / "data")
    result = write_report(config, out, data_dir, task)
    return {
        "model": str(out / "model.keras"),
        "headline": task.headline(result),
        "split": config.data.evaluation_split,
        "images": result["images"],
        **task.numbers(result),
        "evaluation": result,
        "config": config.model_dump(mode="json"),
    }


def _look(config, out, data_dir, check, preview, report):
    """Checks the data, or draws some.

    Returns:
        The `Task`, and what is printed as JSON.
    """
    from gcvit_training.tasks import open_task

    if data_dir is None and out is not None:
        data_dir = out / "data"
    task = open_task(config, data_dir)
    if preview:
        from gcvit_training.plots import image_grid

        images, titles = task.preview()
        try:
            image_grid(images, titles, preview)
        except OSError as error:
            raise ValueError(
                f"--preview cannot be written: {preview}: {error.strerror}"
            ) from None
        report(f"Wrote {preview}: {len(images)} images as training sees them.")
    if not check:
        return task, {"preview": str(preview)}
    return task, task.check_data(report)


def _print_result(result):
    console.print(
        f"{result['headline']}. Wrote {result['model']}.",
        soft_wrap=True,
    )
    folder = result["model"].removesuffix("model.keras")
    console.print(
        f"See {shlex.quote(folder + 'report.md')}, or: "
        f"tensorboard --logdir {shlex.quote(folder + 'logs')}",
        soft_wrap=True,
    )
