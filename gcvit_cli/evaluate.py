"""`gcvit evaluate`."""

import contextlib
import json as json_module
import sys
from pathlib import Path

from rich.table import Table

from gcvit_cli.artifacts import open_model
from gcvit_cli.console import console, import_tensorflow

WORST = 5
"""Classes that are printed."""


def run(artifact, data, split, data_dir, size, crop, batch_size, out, json):
    """Evaluates a run, a model or an export on a dataset.

    Args:
        artifact: Folder of a run of `gcvit train`, a `.keras` or `.tflite`
            file, or a SavedModel.
        data: As `data.dataset` of a run; `None` for the run's own.
        split: Split to evaluate on, or `None` for the run's own or `test`.
        data_dir: Folder of TFDS's datasets, or `None`.
        size: Side of the images for a model that takes any, or `None`.
        crop: Crop ratio, or `None` for the run's own or 1.
        batch_size: Images at once.
        out: Folder for `evaluation.json` and `confusion.png`, or `None`: the
            run, and nothing is written for others.
        json: Whether to print JSON.

    Raises:
        ValueError: If the model or the data cannot be used.
    """
    if crop is not None and not 0 < crop <= 1:
        raise ValueError(f"--crop must be in (0, 1]. Received: {crop}")
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
        raise ValueError("--data is missing")
    predict, shape = open_model(path)
    if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1]:
        raise ValueError(f"{path} does not take square RGB images")
    given = {"dataset": data, "evaluation_split": split, "crop_ratio": crop}
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
            text = json_module.dumps(result, indent=2)
            folder.write_text("evaluation.json", text)
            confusion_picture(evaluation, source.names, out / "confusion.png")
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from error
    if json:
        print(json_module.dumps(result, indent=2))
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
