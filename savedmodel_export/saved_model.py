"""SavedModel, as TensorFlow Serving mounts it."""

import os
import shutil
from pathlib import Path

import tensorflow as tf


def export_saved_model(model, directory) -> Path:
    """Writes the next version of a model into a folder of versions.

    The version is written beside and renamed into place, so a server that
    watches the folder never sees half of one.

    Args:
        model: A classifier of this library.
        directory: Folder of the versions; made where missing.

    Returns:
        `pathlib.Path` of the version, `directory/N` with N one above the
        highest there, from 1 on. Its signature `serving_default` takes
        `images`, float32 `(batch, height, width, channels)` with pixels in
        [0, 255], and returns `probabilities`, float32 `(batch, classes)`.

    Raises:
        ValueError: If the path holds one of `*?[]`.
    """
    check_loadable(directory)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # Hidden, and no number: servers look at numbered folders only.
    beside = directory / f".writing-{os.getpid()}"
    try:
        write_saved_model(model, beside, batch=None)
        taken = [int(p.name) for p in directory.iterdir() if p.name.isdigit()]
        version = directory / str(max(taken, default=0) + 1)
        os.rename(beside, version)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return version


def check_loadable(path):
    """Refuses a path from which TensorFlow could not load a SavedModel.

    It takes the path for a pattern, and finds no weights in a folder of
    such a name.

    Args:
        path: Path to be written to.

    Raises:
        ValueError: If the path holds one of `*?[]`.
    """
    if set("*?[]") & set(str(path)):
        raise ValueError(
            "TensorFlow cannot load a SavedModel from a path with any of "
            f"* ? [ ] in it. Received: {path}"
        )


def write_saved_model(model, directory, batch):
    """Writes a SavedModel as it is, without versions.

    Args:
        model: See `export_saved_model`.
        directory: Folder to write into.
        batch: Batch size of the signature, `None` for any.
    """
    # Not Keras's ExportArchive: as of 3.15 it stores every weight twice.
    served = tf.Module(name=model.name)
    served.variables_served = [v.value for v in model.variables]

    @tf.function(
        input_signature=[
            tf.TensorSpec(
                (batch, *model.input_shape[1:]), tf.float32, name="images"
            )
        ]
    )
    def serving_default(images):
        return {"probabilities": model(images, training=False)}

    tf.saved_model.save(
        served,
        str(directory),
        signatures={"serving_default": serving_default.get_concrete_function()},
    )
