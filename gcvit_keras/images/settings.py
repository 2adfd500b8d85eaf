"""Settings that lie in a JSON file beside a model, and within an export."""

import dataclasses
import functools
import importlib.util
import json
import zipfile
from pathlib import Path


class SavedSettings:
    """Base of frozen dataclasses whose fields lie in a JSON file.

    Attributes:
        FILE: Name of that file.
    """

    FILE = ""

    def replace(self, **settings):
        """Returns the same with other settings; `None` leaves one as it is.

        Raises a `ValueError` if one is out of range.
        """
        changed = {k: v for k, v in settings.items() if v is not None}
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict:
        """Returns the settings as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings):
        """Makes the settings of a dict that `to_dict` returned.

        Those with a default may be missing. Raises a `ValueError` if a setting
        is missing, unknown or out of range.
        """
        try:
            return cls(**settings)
        except TypeError as error:  # another argument, none, or no dict
            raise ValueError(f"no settings of an image reader: {error}") from (
                None
            )

    def to_json(self) -> str:
        """Returns the text of the file."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    @classmethod
    def of(cls, path):
        """Finds the settings by which a model's images are read.

        Args:
            path: Folder of a run, a model file (`FILE` lies beside it;
                `NAME.FILE` is its very own), a LiteRT or ONNX file, which has
                them inside, a SavedModel, or a folder of its numbered
                versions, of which the last counts.

        Returns:
            Settings of this class, or `None` where nothing is written down.

        Raises:
            ValueError: If what is written down cannot be used.
        """
        for file in _places(Path(path), cls.FILE):
            try:
                if file.suffix == ".json":
                    text = file.read_bytes() if file.is_file() else None
                else:
                    text = read_inside(file, cls.FILE)
                if text is not None:
                    return cls.from_dict(json.loads(text))
            except (OSError, ValueError) as error:
                raise ValueError(f"{file} cannot be used: {error}") from error
        return None


def read_inside(path, name):
    """Reads a file that an export of this library has inside of it.

    `name` is that of a file in the archive of a `.tflite`; of an `.onnx`, but
    for the suffix, that of a property. Returns a string, or `None`.
    """
    if path.suffix == ".tflite" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if name in archive.namelist():
                return archive.read(name).decode()
    if path.suffix == ".onnx" and path.is_file():
        properties = _onnx_properties(path, path.stat().st_mtime_ns)
        return properties.get(name.split(".")[0])
    return None


@functools.lru_cache(maxsize=1)  # a command asks several times
def _onnx_properties(path, changed):
    """Reads `metadata_props` of a file, anew once it has changed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return {}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    none = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = none  # it is not to be run
    try:
        session = onnxruntime.InferenceSession(str(path), options)
    except Exception:  # of many kinds: whoever runs it will tell
        return {}
    return session.get_modelmeta().custom_metadata_map


def _places(path, name):
    """Yields the files in which settings may be, likeliest first."""
    if not path.is_dir():
        yield path.with_name(f"{path.name}.{name}")
        if path.suffix in (".tflite", ".onnx"):
            yield path
        yield path.with_name(name)
        return
    versions = [p for p in path.iterdir() if p.name.isdecimal()]
    version = max(versions, key=lambda p: int(p.name), default=path)
    yield path / name
    yield version / "assets" / name
