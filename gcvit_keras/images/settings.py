"""Settings that lie in a JSON file beside a model, and within an export."""

import dataclasses
import json
from pathlib import Path


class SavedSettings:
    """Of a frozen dataclass, which has the name of the file as `FILE`."""

    FILE = ""

    def replace(self, **settings):
        """Returns the same with other settings; `None` leaves one as it is.

        Args:
            **settings: Arguments of the class.

        Returns:
            Settings of the same class.

        Raises:
            ValueError: If a setting is out of range.
        """
        given = {k: v for k, v in settings.items() if v is not None}
        return dataclasses.replace(self, **given)

    def to_dict(self) -> dict:
        """Returns the settings as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings):
        """Makes the settings of a dict that `to_dict` returned.

        Args:
            settings: Dict of the arguments; those with a default may be
                missing.

        Returns:
            Settings of this class.

        Raises:
            ValueError: If a setting is missing, unknown or out of range.
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
        """Finds how a model's images are read.

        Args:
            path: Folder of a run, a model file (`FILE` lies beside it;
                `NAME.FILE` is its very own), a SavedModel, or a folder of its
                numbered versions, of which the last counts.

        Returns:
            Settings of this class, or `None` where nothing is written down.

        Raises:
            ValueError: If what is written down cannot be used.
        """
        for file in _places(Path(path), cls.FILE):
            if file.is_file():
                try:
                    return cls.from_dict(json.loads(file.read_bytes()))
                except (OSError, ValueError) as error:
                    raise ValueError(
                        f"{file} cannot be used: {error}"
                    ) from error
        return None


def _places(path, name):
    """Yields the files in which settings may be, likeliest first."""
    if not path.is_dir():
        yield path.with_name(f"{path.name}.{name}")
        yield path.with_name(name)
        return
    versions = [p for p in path.iterdir() if p.name.isdecimal()]
    version = max(versions, key=lambda p: int(p.name), default=path)
    yield path / name
    yield version / "assets" / name
