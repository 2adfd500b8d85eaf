"""The report of a finished run: measures, pictures and one page."""

import csv
import json
import platform

import keras
import tensorflow as tf

from gcvit_training.data import evaluation_batches
from gcvit_training.evaluator import evaluate, predict_in_graph
from gcvit_training.plots import curves
from gcvit_training.run_folder import BROKEN, RunFolder, unreadable
from gcvit_training.tasks import open_task


def write_report(config, out, data_dir=None, task=None):
    """Evaluates a finished run and writes its report.

    Args:
        config: The run's `RunConfig`.
        out: Folder of the run; gets `evaluation.json`, `curves.png`,
            `report.md` and the pictures of the task.
        data_dir: Folder of what TFDS prepares. Default: `data` in `out`.
        task: The run's `Task`, or `None` to open it again.

    Returns:
        The result of the task's evaluator, of `model.keras` on the evaluation
        split, a dict.

    Examples:
    >>> from gcvit_training import read_config, train, write_report
    >>> settings = ["epochs=1", "optimizer.warmup_epochs=0"]
    >>> settings += ["data.train_split=train[:64]", "data.batch_size=16"]
    >>> settings += [f"model.{k}=[1, 1, 1, 1]" for k in ("depths", "num_heads")]
    >>> config = read_config("digits", settings)
    >>> model = train(config, "run", verbose=0)
    Downloading and preparing dataset ...
    >>> print(write_report(config, "run")["images"] > 300)
    True
    """
    folder = RunFolder(out)
    task = task or open_task(config, data_dir or folder.path / "data")
    model = keras.models.load_model(folder.path / "model.keras", compile=False)
    predict = predict_in_graph(task, model)
    evaluator = evaluate(task.evaluator(), predict, evaluation_batches(task))
    result = evaluator.result()
    folder.write_text("evaluation.json", json.dumps(result, indent=2))
    curves(folder.path / "metrics.csv", folder.path / "curves.png")
    folder.write_text("report.md", _page(task, model, result, folder))
    return result


def _page(task, model, result, folder):
    config, data = task.config, task.config.data
    unread = sum(len(unreadable(folder.path / n)) for n in BROKEN.values())
    with open(folder.path / "metrics.csv", encoding="utf-8") as file:
        epochs = len(list(csv.DictReader(file)))
    if epochs < config.epochs:  # it was stopped
        epochs = f"{epochs} of {config.epochs}"
    weights = "the weights of the last step"
    if config.optimizer.ema:
        weights = "the averages of the weights"
    lines = [
        f"# {model.name} on {data.dataset}",
        "",
        f"On `{data.evaluation_split}`, with {weights}:",
        "",
        *task.page(result, folder),
        "",
        "![curves](curves.png)",
        "",
        "## How",
        "",
        f"- {task.facts()}; {unread} could not be read.",
        f"- {model.count_params():,} parameters, {config.precision}.",
        f"- {epochs} epochs in batches of {data.batch_size}, seed "
        f"{config.seed}; every setting is in [config.yaml](config.yaml), every "
        "epoch in [metrics.csv](metrics.csv).",
        f"- Keras {keras.__version__}, TensorFlow {tf.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}.",
        "",
    ]
    return "\n".join(lines)
