"""`gcvit train`."""

import contextlib
import functools
import json as json_module
import shlex
import sys

from rich.table import Table

from gcvit_cli.console import console, errors, import_tensorflow

SHOWN = 10
"""Lines of a list that are printed; the rest is counted."""


def run(recipe, out, overrides, data_dir, check, preview, json):
    """Trains as a recipe says, into a folder, or goes on with that.

    The folder gets what `gcvit_training.train` writes, and `evaluation.json`,
    `confusion.png`, `curves.png` and `report.md`.

    Args:
        recipe: Name of a shipped recipe, or path of a YAML file.
        out: Folder of the run; `None` with `check` or `preview`.
        overrides: Strings `"section.field=value"`.
        data_dir: Folder of TFDS's datasets, or `None` for one in `out`.
        check: Whether to read the dataset only, and say what is in it.
        preview: Path of a PNG of augmented images to draw only, or `None`.
        json: Whether to print the result as JSON, and what goes on to
            standard error.

    Raises:
        ValueError: If the configuration is impossible, `out` holds something
            else, or the run had to stop.
        Preempted: After SIGTERM, when a checkpoint is written.
    """
    report = functools.partial(
        (errors if json else console).print, soft_wrap=True
    )
    if out is None and not (check or preview):
        raise ValueError("--out is missing")
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        report("Starting TensorFlow ...")
        import_tensorflow()
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        from gcvit_training import read_config

        config = read_config(recipe, overrides)
        if check or preview:
            result = _look(config, out, data_dir, check, preview, report)
        else:
            result = _train(config, out, data_dir, report, verbose=not json)
    if result is None:
        return
    if json:
        print(json_module.dumps(result, indent=2))
    elif check:
        _print_check(result)
    elif not preview:
        _print_result(result)


def _train(config, out, data_dir, report, verbose):
    from gcvit_training import train
    from gcvit_training.report import write_report
    from gcvit_training.strategy import choose_strategy, is_chief

    # First: that of several workers is made before anything is computed.
    strategy = choose_strategy(config.strategy)
    report(
        f"Training GC ViT for {config.epochs} epochs with model.fit, on "
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
    evaluation = write_report(config, out, data_dir)
    return {
        "model": str(out / "model.keras"),
        "accuracy": evaluation.top1,
        "split": config.data.evaluation_split,
        "images": evaluation.images,
        "evaluation": evaluation.as_dict(),
        "config": config.model_dump(mode="json"),
    }


def _look(config, out, data_dir, check, preview, report):
    from gcvit_training.check import check_data
    from gcvit_training.check import preview as augmented
    from gcvit_training.sources import check_split, open_source

    data = config.data
    if data_dir is None and out is not None:
        data_dir = out / "data"
    source = open_source(data.dataset, data_dir, data.holdout)
    for field in ("train_split", "evaluation_split"):
        check_split(source, getattr(data, field), f"data.{field}")
    if preview:
        from gcvit_training.plots import image_grid

        images, titles = augmented(source, config)
        try:
            image_grid(images, titles, preview)
        except OSError as error:
            raise ValueError(
                f"--preview cannot be written: {preview}: {error.strerror}"
            ) from None
        report(f"Wrote {preview}: {len(images)} images as training sees them.")
    if check:
        splits = [data.train_split, data.evaluation_split]
        return check_data(source, dict.fromkeys(splits), report)
    return {"preview": str(preview)}


def _print_check(result):
    for split, found in result.items():
        broken = found["broken"]
        console.print(f"{split}: {found['images']} images", style="bold")
        table = Table("class", "images")
        counts = sorted(found["classes"].items(), key=lambda item: -item[1])
        if len(counts) > 2 * SHOWN:
            counts = [*counts[:SHOWN], ("...", ""), *counts[-SHOWN:]]
        for name, count in counts:
            table.add_row(name, str(count))
        console.print(table)
        if found["least_size"]:
            (h, w), (height, width) = found["least_size"], found["largest_size"]
            console.print(f"sizes from {w} x {h} to {width} x {height} pixels")
        if found["rotated"]:
            console.print(
                f"{found['rotated']} have an EXIF rotation, which training "
                "does not apply"
            )
        console.print(f"{len(broken)} cannot be decoded")
        for image in broken[:SHOWN]:
            console.print(
                f"  {image['image']}: {image['reason']}", soft_wrap=True
            )
        if len(broken) > SHOWN:
            console.print("  ... (--json prints them all)")


def _print_result(result):
    console.print(
        f"Top-1 on {result['images']} images of {result['split']}: "
        f"{result['accuracy']:.2%}. Wrote {result['model']}.",
        soft_wrap=True,
    )
    folder = result["model"].removesuffix("model.keras")
    console.print(
        f"See {shlex.quote(folder + 'report.md')}, or: "
        f"tensorboard --logdir {shlex.quote(folder + 'logs')}",
        soft_wrap=True,
    )
