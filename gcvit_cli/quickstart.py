"""`gcvit quickstart`: everything once, on bundled real images."""

import json as json_module
import os
import time

import numpy as np
from rich.table import Table

from gcvit_cli.console import console, errors, import_tensorflow

SHOWN = 8
"""Held-out images whose predictions are printed and written as PNG."""


def run(out, json):
    """Trains on digits, exports, verifies and predicts.

    Args:
        out: Folder for everything; what is there already is used again.
        json: Whether to print the result as JSON, and what goes on to
            standard error.
    """
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    report = (errors if json else console).print
    report(f"GC ViT quickstart, into {out}. Starting TensorFlow ...")
    import_tensorflow()
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    from savedmodel_export import export_litert, export_saved_model, verify
    from savedmodel_export.runner import latency
    from training import DIGITS, evaluate
    from training.data import evaluation_batches, prepare

    builder = prepare(DIGITS.dataset, out / "data")
    splits = builder.info.splits
    report(
        f"Data: scikit-learn's handwritten digits as TFDS, "
        f"{splits['train'].num_examples} to train on, "
        f"{splits['test'].num_examples} held out."
    )
    names = builder.info.features["label"].names
    (out / "labels.txt").write_text("\n".join(names) + "\n", encoding="utf-8")

    model = _trained(out / "digits.keras", DIGITS, out / "data", report, json)
    batches = evaluation_batches(builder, "test", DIGITS.image_size, 64)
    images, labels = (
        np.concatenate(parts)
        for parts in zip(*batches.as_numpy_iterator(), strict=True)
    )
    accuracy = evaluate(model.predict_on_batch, batches)
    _write_examples(out / "images", builder, report)
    saved_model = _made(
        out / "savedmodel", lambda p: export_saved_model(model, p), report
    )
    litert = _made(
        out / "digits.tflite", lambda p: export_litert(model, p), report
    )

    report("Running both exports in processes without Keras ...")
    truth = labels.argmax(-1)
    rows = [
        {
            "artefact": "Keras",
            "path": str(out / "digits.keras"),
            "accuracy": accuracy,
            "difference": 0.0,
            "bytes": (out / "digits.keras").stat().st_size,
            "milliseconds": latency(model.predict_on_batch, images[:1]),
            "predicted": _top(model.predict_on_batch(images[:SHOWN])),
        }
    ]
    for title, path in (("SavedModel", saved_model), ("LiteRT", litert)):
        seen = verify(path, model.predict_on_batch, images)
        rows.append(
            {
                "artefact": title,
                "path": str(path),
                "accuracy": float(np.mean(seen.scores.argmax(-1) == truth)),
                "difference": seen.difference,
                "bytes": seen.size,
                "milliseconds": seen.milliseconds,
                "predicted": _top(seen.scores[:SHOWN]),
            }
        )
    result = {
        "seconds": time.monotonic() - start,
        "held_out": len(truth),
        "labels": [int(k) for k in truth[:SHOWN]],
        "artefacts": rows,
    }
    if json:
        print(json_module.dumps(result, indent=2))
    else:
        _print_table(result, out)


def _trained(path, config, data_dir, report, json):
    """The trained model, from the file where an earlier run left it."""
    import keras

    from training import train

    if path.exists():
        report(f"{path} is there from an earlier run: not trained again.")
        return keras.models.load_model(path)
    report(f"Training GC ViT for {config.epochs} epochs with model.fit:")
    model = train(config, data_dir, verbose=0 if json else 1)
    beside = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        model.save(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return model


def _made(path, make, report):
    """An export, made where an earlier run has not left it."""
    if path.exists() and (path.is_file() or any(path.iterdir())):
        report(f"{path} is there from an earlier run: not exported again.")
        return path
    report(f"Exporting {path} ...")
    return make(path)


def _write_examples(folder, builder, report):
    """Writes the first held-out images as PNG, for `gcvit predict`."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    data = builder.as_dataset(split="test", as_supervised=True).take(SHOWN)
    for i, (image, label) in enumerate(data.as_numpy_iterator()):
        Image.fromarray(image[:, :, 0]).save(folder / f"{i}_is_{label}.png")


def _top(scores):
    return [int(k) for k in np.asarray(scores).argmax(-1)]


def _print_table(result, out):
    table = Table(title=f"{result['held_out']} held-out digits")
    table.add_column("")
    for column in ("accuracy", "from Keras", "size", "1 image", "predicted"):
        table.add_column(column, justify="right")
    digits = " ".join(map(str, result["labels"]))
    table.add_row("the truth", "", "", "", "", digits, end_section=True)
    for row in result["artefacts"]:
        table.add_row(
            row["artefact"],
            f"{row['accuracy']:.2%}",
            f"{row['difference']:.0e}",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['milliseconds']:.1f} ms",
            " ".join(map(str, row["predicted"])),
        )
    console.print(table)
    for row in result["artefacts"]:
        console.print(f"{row['artefact']:>10}  {row['path']}", soft_wrap=True)
    console.print(f"Done in {result['seconds']:.0f} s. Try:")
    console.print(
        f"  gcvit predict {out}/images/*.png --model {out}/digits.keras",
        soft_wrap=True,
    )
