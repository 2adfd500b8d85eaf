"""Opening what this library saves and exports."""

import contextlib
import json
import zipfile

from gcvit_cli.console import note_line, quietly


def open_model(path):
    """Opens a `.keras` file or an export, at a path as `in_run` returns.

    Returns a `keras.Model`, or an export as `gcvit_export.runner.Artifact`.
    Raises a `ValueError` if it cannot be opened.
    """
    if path.suffix == ".keras":
        return load_keras(path)
    from gcvit_export.runner import Artifact

    with quietly():
        return Artifact(path)


def load_keras(path):
    """Loads a `.keras` file, or raises a `ValueError` that says why not."""
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

    It is not compiled where that loss is none of Keras's own. The optimizer is
    left out: it takes twice the memory of the weights.
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
    """Returns the path of a run's `.keras` file; of anything else the path.

    Raises a `ValueError` if nothing is there, or the run has not ended.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such model or run")
    if not (path / "config.yaml").is_file():
        return path
    if not (path / "model.keras").is_file():
        raise ValueError(f"{path} is a run that has not ended")
    return path / "model.keras"


def model_file(path):
    """Returns the path of a `.keras` file, which may be that of a run.

    Raises a `ValueError` if it is neither, or the run has not ended.
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
    if path is None:
        names, source = _own_labels(model)
    elif str(path) == "imagenet" and classes in (None, 1000):
        from gcvit_keras.models.preprocessing import imagenet_classes

        return [name.replace("_", " ") for _, name in imagenet_classes()]
    elif str(path) == "imagenet" and not path.exists():
        raise ValueError(
            f"--labels imagenet names 1000 classes, the model has {classes}"
        )
    else:
        names, source = _lines(path), path
        if not names:
            raise ValueError(f"{path} has no labels")
    fits = names is None or classes in (None, len(names))
    if fits or (classes, len(names)) == (1, 2):
        return names
    message = f"{source} has {len(names)} labels for {classes} classes"
    if path is not None:
        raise ValueError(message)
    note_line(f"{message}: not used")
    return None


def _own_labels(model):
    """Names within or beside a model, and where; `None` where are none."""
    if model is None:
        return None, None
    from gcvit_export.runner import newest_version
    from gcvit_keras.images.settings import read_inside

    inside = read_inside(model, "labels.txt")
    if inside is not None:
        is_json = model.suffix == ".onnx"
        return json.loads(inside) if is_json else inside.splitlines(), model
    folders = [newest_version(model) / "assets", model.parent]
    if model.name.isdecimal():  # a version, one folder below its name
        folders.append(model.resolve().parent.parent)
    for folder in folders:
        if (folder / "labels.txt").is_file():
            return _lines(folder / "labels.txt"), folder / "labels.txt"
    return None, None


def _lines(path):
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(
            f"--labels cannot be read: {path}: {error.strerror}"
        ) from None
