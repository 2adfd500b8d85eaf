"""`gcvit quickstart`: everything once, on bundled real images."""

import contextlib
import functools
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gcvit_cli.console import (
    console,
    errors,
    import_tensorflow,
    print_json,
)
from gcvit_cli.options import Json

EXAMPLE = "gcvit quickstart --out digits"
SHOWN = 8
"""Held-out images whose predictions are printed and written as PNG."""


def command(
    out: Annotated[
        Path, typer.Option(help="Folder for everything that is made.")
    ] = Path("gcvit-quickstart"),
    json: Json = False,
):
    """Train, export and predict on real handwritten digits.

    Takes two to four minutes on two CPU cores. What is in the folder from an
    earlier run is used again, not made again.
    """
    report = functools.partial(
        (errors if json else console).print, soft_wrap=True
    )
    # With --json nothing but the result may reach standard output.
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        result = _make_everything(out, report, verbose=0 if json else 1)
    if json:
        print_json(result)
    else:
        _print_table(result, out)


def _make_everything(out, report, verbose):
    """Fills the folder and returns what was seen, as plain data."""
    start = time.monotonic()
    report(f"GC ViT quickstart, into {out}. Starting TensorFlow ...")
    import_tensorflow()
    import numpy as np
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    from gcvit_export import (
        VerificationError,
        export_litert,
        export_saved_model,
        verify,
    )
    from gcvit_export.paths import check_loadable
    from gcvit_export.runner import latency, newest_version
    from gcvit_training import read_config
    from gcvit_training.tasks.classification import evaluate, evaluation_batches
    from gcvit_training.tasks.classification.sources import open_source

    check_loadable(out)
    config = read_config("digits")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--out cannot be made: {out}: {error.strerror}"
        ) from None
    data_dir = out / "data"
    if data_dir.exists():
        report(f"{data_dir} is there from an earlier run: used again.")
    try:
        source = open_source(config.data.dataset, data_dir)
        for split in ("train", "test"):  # reads it all; damage shows here
            found = sum(1 for _ in source.examples(split))
            if found < source.size(split):
                raise ValueError(f"{split} has {found} images")
    except Exception as error:  # TFDS and TensorFlow raise many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{data_dir} cannot be used; remove it, or choose another --out: "
            f"{reason}"
        ) from error
    report(
        f"Data: scikit-learn's handwritten digits as TFDS, "
        f"{source.size('train')} to train on, "
        f"{source.size('test')} held out."
    )
    _write_labels(out / "labels.txt", source.names)
    _write_examples(out / "images", source, report)

    keras_file = out / "digits.keras"
    trained = not keras_file.exists()
    if trained:
        model = _train(keras_file, config, data_dir, report, verbose)
    else:
        model = _load(keras_file, config)
        report(f"{keras_file} is there from an earlier run: not trained again.")
    batches = evaluation_batches(source, "test", config.data, 64)
    images, labels, _ = (
        np.concatenate(parts)
        for parts in zip(*batches.as_numpy_iterator(), strict=True)
    )
    accuracy = evaluate(model.predict_on_batch, batches).top1

    # Exports of an earlier model than the one just trained are not its own.
    saved_model = newest_version(out / "savedmodel")
    if (saved_model / "saved_model.pb").is_file() and not trained:
        report(f"{saved_model} is there from an earlier run: not exported.")
    else:
        saved_model = export_saved_model(
            model, out / "savedmodel", source.names, verify=False
        )
        report(f"Exported {saved_model}.")
    litert = out / "digits.tflite"
    if litert.is_file() and not trained:
        report(f"{litert} is there from an earlier run: not exported.")
    else:
        export_litert(model, litert, labels=source.names, verify=False)
        report(f"Exported {litert}.")

    report("Running both exports in processes without Keras ...")
    truth = labels.argmax(-1)
    rows = [
        {
            "artifact": "Keras",
            "path": str(keras_file),
            "accuracy": accuracy,
            "difference": 0.0,
            "bytes": keras_file.stat().st_size,
            "milliseconds": latency(model.predict_on_batch, images[:1]),
            "predicted": _top(model.predict_on_batch(images[:SHOWN])),
        }
    ]
    for title, path in (("SavedModel", saved_model), ("LiteRT", litert)):
        try:
            seen = verify(path, model.predict_on_batch, images)
        except VerificationError as error:
            raise ValueError(
                f"{error}; remove {path} to export it again"
            ) from error
        rows.append(
            {
                "artifact": title,
                "path": str(path),
                "accuracy": float(np.mean(seen.scores.argmax(-1) == truth)),
                "difference": seen.difference,
                "bytes": seen.size,
                "milliseconds": seen.milliseconds,
                "predicted": _top(seen.scores[:SHOWN]),
            }
        )
    return {
        "seconds": time.monotonic() - start,
        "held_out": len(truth),
        "labels": [int(k) for k in truth[:SHOWN]],
        "artifacts": rows,
    }


def _train(path, config, data_dir, report, verbose):
    """Trains and saves; returns the model."""
    from gcvit_keras.files import replacing
    from gcvit_training import train

    report(f"Training GC ViT for {config.epochs} epochs with model.fit:")
    with replacing(path) as beside:
        model = train(
            config,
            path.parent / "run",
            data_dir,
            verbose=verbose,
            report=report,
        )
        model.save(beside)
    return model


def _load(path, config):
    """The model an earlier run left."""
    import keras

    try:
        model = keras.models.load_model(path)
        if model.name != config.model.name or (
            model.input_shape[1:] != config.data.image_shape
        ):
            raise ValueError(f"it holds the model {model.name!r}")
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{path} is not what a quickstart leaves there; choose another "
            f"--out, or remove it: {reason}"
        ) from error
    return model


def _write_labels(path, names):
    """Writes the class names, for `gcvit predict`."""
    text = "\n".join(names) + "\n"
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_bytes() != text.encode():
        raise ValueError(
            f"{path} is not what a quickstart leaves there; choose another "
            "--out"
        )


def _write_examples(folder, source, report):
    """Writes the first held-out images as PNG, for `gcvit predict`."""
    if folder.exists():
        report(f"{folder} is there from an earlier run: not written again.")
        return
    folder.mkdir()
    data = source.examples("test").map(source.load).take(SHOWN)
    for i, (encoded, label) in enumerate(data.as_numpy_iterator()):
        (folder / f"{i}_is_{label}.png").write_bytes(encoded)


def _top(scores):
    return [int(k) for k in scores.argmax(-1)]


def _print_table(result, out):
    table = Table(title=f"{result['held_out']} held-out digits")
    table.add_column("")
    for column in ("accuracy", "from Keras", "size", "1 image", "predicted"):
        table.add_column(column, justify="right")
    digits = " ".join(map(str, result["labels"]))
    table.add_row("the truth", "", "", "", "", digits, end_section=True)
    for row in result["artifacts"]:
        table.add_row(
            row["artifact"],
            f"{row['accuracy']:.2%}",
            f"{row['difference']:.0e}",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['milliseconds']:.1f} ms",
            " ".join(map(str, row["predicted"])),
        )
    console.print(table)
    for row in result["artifacts"]:
        console.print(f"{row['artifact']:>10}  {row['path']}", soft_wrap=True)
    console.print(f"Done in {result['seconds']:.0f} s. Try:")
    console.print(
        f"  gcvit predict {shlex.quote(str(out))}/images/*.png "
        f"--model {shlex.quote(str(out / 'digits.keras'))}",
        soft_wrap=True,
    )
