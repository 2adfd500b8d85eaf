"""Opening what this library saves and exports."""

import contextlib
import json
import zipfile
from pathlib import Path

from gcvit_cli.console import note_line, quietly


def open_model(path):
    """Opens a `.keras` file, a SavedModel, a LiteRT or an ONNX file.

    Args:
        path: Where it is, as `in_run` returns.

    Returns:
        A `keras.Model`, or an export as `gcvit_export.runner.Artifact`.

    Raises:
        ValueError: If it cannot be opened.
    """
    if path.suffix == ".keras":
        return load_keras(path)
    from gcvit_export.runner import Artifact

    with quietly():
        return Artifact(path)


def load_keras(path):
    """Loads a `.keras` file.

    Args:
        path: Where it is.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: If it cannot be loaded.
    """
    import keras

    import gcvit_keras  # noqa: F401  registers the layers

    # Keras says of a file that is no archive that it is not there.
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} cannot be opened: no zip archive, as .keras files are"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error


def load_compiled(path):
    """Loads a `.keras` file, with the loss that it was compiled with.

    The optimizer is left out: it takes twice the memory of the weights.

    Args:
        path: Path of the file.

    Returns:
        `keras.Model`; not compiled where its loss is none of Keras's own.

    Raises:
        ValueError: If it cannot be loaded.
    """
    import keras

    model = load_keras(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    loss = (config.get("compile_config") or {}).get("loss")
    if loss is not None:
        with contextlib.suppress(Exception):  # a loss of the user's own
            model.compile(loss=keras.saving.deserialize_keras_object(loss))
    return model


def in_run(path):
    """Finds the model of a run.

    Args:
        path: Folder of a run, or anything else.

    Returns:
        Path of the run's `.keras` file; of anything else the path itself.

    Raises:
        ValueError: If nothing is there, or the run has not ended.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such model or run")
    if not (path / "config.yaml").is_file():
        return path
    if not (path / "model.keras").is_file():
        raise ValueError(f"{path} is a run that has not ended")
    return path / "model.keras"


def model_file(path):
    """Finds a `.keras` file, which may be that of a run.

    Args:
        path: Path of the file, or of the run's folder.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If it is neither, or the run has not ended.
    """
    path = in_run(path)
    if path.suffix != ".keras":
        raise ValueError(f"{path} is no .keras file and no folder of a run")
    return path


def find_labels(path, model, classes):
    """Finds class names: in the file given, in an export, or beside a model.

    Args:
        path: Path of a text file, `imagenet`, or `None`.
        model: Path of the model, or `None`.
        classes: How many it has, or `None` to take as many as there are. Of a
            single score one name, or two, of which the second is its own.

    Returns:
        List of strings, or `None` where there are none.

    Raises:
        ValueError: If a given file cannot be used.
    """
    if path is not None and str(path) == "imagenet" and classes in (None, 1000):
        from gcvit_keras.models.preprocessing import imagenet_classes

        return [name.replace("_", " ") for _, name in imagenet_classes()]
    given = path is not None
    if given and str(path) == "imagenet" and not path.exists():
        raise ValueError(
            f"--labels imagenet names 1000 classes, the model has {classes}"
        )
    if not given and model is not None:
        from gcvit_keras.images.settings import read_inside

        inside = read_inside(model, "labels.txt")
        if inside is not None:
            is_json = model.suffix == ".onnx"
            names = json.loads(inside) if is_json else inside.splitlines()
            return _counted(names, classes, model, given)
        # A version of a SavedModel lies one folder below its name.
        from gcvit_export.runner import newest_version

        folders = [
            newest_version(model) / "assets",
            model.parent,
            model.resolve().parent.parent,
        ]
        for folder in folders[: 2 + model.name.isdecimal()]:
            if path is None and (folder / "labels.txt").is_file():
                path = folder / "labels.txt"
    if path is None:
        return None
    try:
        names = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(
            f"--labels cannot be read: {path}: {error.strerror}"
        ) from None
    return _counted(names, classes, path, given)


def _counted(names, classes, path, given):
    """Names that are as many as the classes; see `find_labels`."""
    if classes in (None, len(names)) or (classes, len(names)) == (1, 2):
        return names
    message = f"{path} has {len(names)} labels for {classes} classes"
    if given:
        raise ValueError(message)
    note_line(f"{message}: not used")
    return None
