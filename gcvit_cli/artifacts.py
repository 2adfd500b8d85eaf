"""Opening what this library saves and exports."""

import functools
from pathlib import Path

from gcvit_cli.console import note_line, quietly


def open_model(path):
    """Opens a `.keras` file, a SavedModel, a LiteRT or an ONNX file.

    Args:
        path: Where it is.

    Returns:
        Callable from images to scores, and its input shape.

    Raises:
        ValueError: If it cannot be opened.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such model")
    if path.suffix != ".keras":
        from gcvit_export.runner import open_artifact

        with quietly():
            return open_artifact(path)
    model = load_keras(path)
    # Augmentation may be part of it. A model of several inputs has a list of
    # shapes, and is refused for it.
    compute = functools.partial(model, training=False)
    return compute, model.input_shape[1:]


def load_keras(path):
    """Loads a `.keras` file.

    Args:
        path: Where it is.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: If it cannot be loaded.
    """
    import zipfile

    import keras

    import gcvit_keras  # noqa: F401  registers the layers

    if not path.exists():
        raise ValueError(f"{path}: no such model")
    # Of a file that is no archive Keras says that it is not there.
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} cannot be opened: no zip archive, as .keras files are"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error


def model_file(path):
    """The `.keras` file itself, or that of a run.

    Args:
        path: Path of the file, or of the run's folder.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: If it is neither, or the run has not ended.
    """
    if not path.exists():
        raise ValueError(
            f"{path}: no such model: give a .keras file or a run's folder"
        )
    if (path / "config.yaml").is_file():
        path = path / "model.keras"
        if not path.is_file():
            raise ValueError(f"{path.parent} is a run that has not ended")
    if path.suffix != ".keras":
        raise ValueError(f"{path} is no .keras file and no folder of a run")
    return path


def run_settings(model):
    """How a run's images were evaluated.

    Args:
        model: Path of the model file.

    Returns:
        Dict of `data` of the run's configuration; empty without a run.
    """
    config = model.parent / "config.yaml"
    if not config.is_file():
        return {}
    from gcvit_training import read_config

    return read_config(config).data.model_dump()


def reading_settings(settings):
    """Of `run_settings`, how files become images.

    Args:
        settings: Dict.

    Returns:
        Dict of those of `crop_ratio`, `crop_mode` and `interpolation` that
        are set.
    """
    names = ("crop_ratio", "crop_mode", "interpolation")
    return {k: settings[k] for k in names if settings.get(k) is not None}


def find_labels(path, model, classes):
    """Class names: as given, else beside the model.

    Args:
        path: Path of a text file, `imagenet`, or `None`.
        model: Path of the model, or `None`.
        classes: How many it has.

    Returns:
        List of strings, or `None` where there are none.

    Raises:
        ValueError: If a given file cannot be used.
    """
    if path is not None and str(path) == "imagenet" and classes == 1000:
        from gcvit_keras.models.preprocessing import imagenet_classes

        return [name.replace("_", " ") for _, name in imagenet_classes()]
    given = path is not None
    if given and str(path) == "imagenet" and not path.exists():
        raise ValueError(
            f"--labels imagenet names 1000 classes, the model has {classes}"
        )
    if not given and model is not None:
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
    if len(names) == classes:
        return names
    message = f"{path} has {len(names)} labels for {classes} classes"
    if given:
        raise ValueError(message)
    note_line(f"{message}: not used")
    return None
