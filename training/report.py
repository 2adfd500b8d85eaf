"""What a finished run says about itself: figures, pictures and one page."""

import json
import platform

import keras
import tensorflow as tf

from gcvit_training.data import evaluation_batches
from gcvit_training.plots import confusion_picture, curves
from gcvit_training.run_folder import RunFolder
from gcvit_training.sources import open_source
from gcvit_training.tasks.classification.evaluator import evaluate


def write_report(config, out, data_dir=None):
    """Evaluates a finished run and writes what came of it.

    Args:
        config: The run's `RunConfig`.
        out: Folder of the run; gets `evaluation.json`, `confusion.png`,
            `curves.png` and `report.md`.
        data_dir: As of `gcvit_training.train`.

    Returns:
        The `Evaluation` of `model.keras` on the evaluation split.
    """
    folder = RunFolder(out)
    data = config.data
    source = open_source(
        data.dataset, data_dir or folder.path / "data", data.holdout
    )
    model = keras.models.load_model(folder.path / "model.keras", compile=False)
    evaluation = evaluate(
        model.predict_on_batch,
        evaluation_batches(
            source, data.evaluation_split, data, data.batch_size
        ),
    )
    folder.write_text(
        "evaluation.json", json.dumps(evaluation.as_dict(), indent=2)
    )
    confusion_picture(evaluation, source.names, folder.path / "confusion.png")
    curves(folder.path / "metrics.csv", folder.path / "curves.png")
    page = _page(config, model, source, evaluation, folder)
    folder.write_text("report.md", page)
    return evaluation


def _page(config, model, source, evaluation, folder):
    data, optimizer = config.data, config.optimizer
    rows = [
        ("top-1", f"{evaluation.top1:.2%}"),
        ("loss", f"{evaluation.loss:.4f}"),
        ("expected calibration error", f"{evaluation.calibration_error:.4f}"),
        ("images", f"{evaluation.images}"),
    ]
    if evaluation.top5 is not None:
        rows.insert(1, ("top-5", f"{evaluation.top5:.2%}"))
    worst = sorted(
        (c for c in evaluation.per_class if c["accuracy"] is not None),
        key=lambda c: c["accuracy"],
    )[:5]
    broken = folder.path / "broken_images.txt"
    unread = 0
    if broken.exists():
        unread = len(set(broken.read_text(encoding="utf-8").split("\n")) - {""})
    lines = [
        f"# {model.name} on {data.dataset}",
        "",
        f"On `{data.evaluation_split}`, with "
        + (
            "the averages of the weights:"
            if optimizer.ema
            else "the weights of the last step:"
        ),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "![curves](curves.png)",
        "",
        "Worst classes: "
        + ", ".join(
            f"{source.names[c['class']]} {c['accuracy']:.1%} of {c['images']}"
            for c in worst
        )
        + ".",
        "",
        "![confusion matrix](confusion.png)",
        "",
        "## How",
        "",
        f"- {source.size(data.train_split)} images of `{data.train_split}`, "
        f"{len(source.names)} classes, {data.image_size} x {data.image_size} "
        f"pixels; {unread} could not be read.",
        f"- {model.count_params():,} parameters, {config.precision}.",
        f"- {config.epochs} epochs in batches of {data.batch_size}, seed "
        f"{config.seed}; every setting is in [config.yaml](config.yaml), every "
        "epoch in [metrics.csv](metrics.csv).",
        f"- Keras {keras.__version__}, TensorFlow {tf.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}.",
        "",
    ]
    return "\n".join(lines)
