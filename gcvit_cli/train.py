"""`gcvit train`."""

import contextlib
import functools
import json as json_module
import sys

from gcvit_cli.console import console, errors, import_tensorflow


def run(recipe, out, overrides, data_dir, json):
    """Trains as a recipe says, into a folder.

    The folder gets `config.yaml` (every field of the run), `metrics.csv` (a
    line an epoch), `model.keras` and `labels.txt`.

    Args:
        recipe: Name of a shipped recipe, or path of a YAML file.
        out: Folder of the run, new or empty.
        overrides: Strings `"section.field=value"`.
        data_dir: Folder of TFDS's datasets, or `None` for one in `out`.
        json: Whether to print the result as JSON, and what goes on to
            standard error.

    Raises:
        ValueError: If the configuration is impossible, or `out` is in use.
    """
    report = functools.partial(
        (errors if json else console).print, soft_wrap=True
    )
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        result = _train(recipe, out, overrides, data_dir, report, not json)
    if json:
        print(json_module.dumps(result, indent=2))
    else:
        console.print(
            f"Top-1 on {result['images']} images of "
            f"{result['split']}: {result['accuracy']:.2%}. "
            f"Wrote {result['model']}.",
            soft_wrap=True,
        )


def _train(recipe, out, overrides, data_dir, report, verbose):
    report("Starting TensorFlow ...")
    import_tensorflow()
    import keras
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    from savedmodel_export.atomic import replacing
    from training import evaluate, read_config, train, write_config
    from training.data import evaluation_batches, prepare

    config = read_config(recipe, overrides)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ValueError(
                f"--out is not empty: {out}. Going on with a run is not there "
                "yet"
            )
        write_config(config, out / "config.yaml")
    except OSError as error:
        raise ValueError(
            f"--out cannot be written: {out}: {error.strerror}"
        ) from None
    data_dir = data_dir or out / "data"
    report(f"Training GC ViT for {config.epochs} epochs with model.fit:")
    trained = train(
        config,
        data_dir,
        callbacks=[keras.callbacks.CSVLogger(out / "metrics.csv")],
        verbose=int(verbose),
    )
    # A copy without the optimizer's state, two thirds of the file.
    model = keras.Model(trained.input, trained.output, name=trained.name)
    with replacing(out / "model.keras") as beside:
        model.save(beside)
    builder = prepare(config.data.dataset, data_dir)
    names = builder.info.features["label"].names
    labels = "".join(f"{name}\n" for name in names)
    (out / "labels.txt").write_text(labels, encoding="utf-8")
    split = config.data.evaluation_split
    batches = evaluation_batches(
        builder, split, config.data.image_size, config.data.batch_size
    )
    return {
        "model": str(out / "model.keras"),
        "accuracy": evaluate(model.predict_on_batch, batches),
        "split": split,
        "images": builder.info.splits[split].num_examples,
        "config": config.model_dump(mode="json"),
    }
