"""The folder of a run: its lock, its configuration and its checkpoints."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import filelock
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gcvit_keras.files import WRITING, remove_abandoned, replacing
from gcvit_training.config import read_config, write_config

FREE = {
    "strategy",
    "jit_compile",
    "checkpoint_minutes",
    "checkpoint_steps",
    "keep_checkpoints",
    "best_metric",
    "best_mode",
    "patience",
    "histograms",
    "profile",
}
"""Fields that may differ when a run goes on: they do not change its result."""

BROKEN = {
    "train_split": "broken_images.txt",
    "evaluation_split": "broken_evaluation_images.txt",
}
"""Lists of the images of each split that could not be read."""

LEFT = {
    ".lock",
    *BROKEN.values(),
    "checkpoints",
    "config.yaml",
    "data",
    "logs",
}
"""Files and folders of a run in which nothing was trained."""


class RunFolder:
    """The folder of a run, written so that a kill loses nothing.

    Every file is written beside its place, flushed to the disk and renamed.

    Args:
        path: The folder.
        writes: Whether this process is the one that writes.
    """

    def __init__(self, path, writes=True):
        self.path = Path(path)
        self.writes = writes
        self.checkpoints = self.path / "checkpoints"
        self.damaged = []

    @contextlib.contextmanager
    def claimed(self, config):
        """Holds the folder for one run.

        Args:
            config: A `RunConfig`; what is in the folder must be of the same
                run.

        Raises:
            ValueError: If another process has the folder, it cannot be
                written, or it holds another run or something else.
        """
        if not self.writes:
            yield
            return
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        with contextlib.ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock)
                held.callback(self._remove_unused_lock)
                self._check(config)
                # Nobody else writes checkpoints; an export may be written.
                for left in self.checkpoints.glob(f"{WRITING}*"):
                    left.unlink()
                remove_abandoned(self.path)
                if not self.saved():
                    for name in (*BROKEN.values(), "best.keras"):
                        (self.path / name).unlink(missing_ok=True)
                    shutil.rmtree(self.path / "logs", ignore_errors=True)
                yield
            except filelock.Timeout:
                raise ValueError(
                    f"`out` is in use by another run: {self.path}"
                ) from None
            except OSError as error:
                # Others, such as a failed download, speak for themselves.
                if not self._holds(error.filename):
                    raise
                raise ValueError(
                    f"`out` cannot be written: {self.path}: {error.strerror}"
                ) from error

    def _remove_unused_lock(self):
        """Removes the lock of a run that was refused, or has saved nothing."""
        if not self.saved():
            (self.path / ".lock").unlink(missing_ok=True)

    def _check(self, config):
        kept = self.path / "config.yaml"
        if not kept.exists() or not self.saved():
            # What an attempt leaves that failed before its first checkpoint.
            others = {p.name for p in self.path.iterdir()} - LEFT
            if kept.exists():  # the first epoch's, cut short after it
                others -= {"best.keras"}
            if any(not name.startswith(WRITING) for name in others):
                raise ValueError(
                    f"`out` is not empty and holds no run: {self.path}"
                )
            return
        try:
            before = read_config(kept).model_dump(mode="json", exclude=FREE)
        except ValueError as error:
            raise ValueError(
                f"`out` holds a run that cannot go on: {error}"
            ) from error
        now = config.model_dump(mode="json", exclude=FREE)
        if (self.path / "model.keras").exists():
            # A finished run may be given more epochs.
            before["epochs"] = max(before["epochs"], now["epochs"])
        different = _first_difference(before, now)
        if different:
            field, old, new = different
            raise ValueError(
                f"`out` holds a run with {field}={old!r}, not {new!r}: "
                f"{self.path}. Choose another folder"
            )

    def _holds(self, path):
        """Tells whether the path that an error names, if any, is in here."""
        if not isinstance(path, (str, os.PathLike)):
            return False
        return Path(path).absolute().is_relative_to(self.path.absolute())

    def replacing(self, name):
        """Gives a path to write to, which becomes `name` on success."""
        return replacing(self.path / name)

    def write_text(self, name, text):
        """Writes a text file."""
        with self.replacing(name) as beside:
            beside.write_text(text, encoding="utf-8")

    def write_config(self, config):
        """Writes `config.yaml`: from now on the folder is this run's."""
        if self.writes:
            with self.replacing("config.yaml") as beside:
                write_config(config, beside)

    def write_metrics(self, rows):
        """Writes `metrics.csv`, a line per epoch."""
        text = io.StringIO()
        names = dict.fromkeys(name for row in rows for name in row)
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self.write_text("metrics.csv", text.getvalue())

    def save(self, step, arrays, facts, keep):
        """Writes a checkpoint and removes older and damaged ones.

        Args:
            step: Step of the run.
            arrays: Dict of name to numpy array.
            facts: All else that a run goes on with, as JSON can hold it.
            keep: How many checkpoints stay.
        """
        self.checkpoints.mkdir(exist_ok=True)
        # One of a later step would outlast all that come before it.
        for path in self.damaged:
            path.unlink(missing_ok=True)
        self.damaged.clear()
        name = f"checkpoints/step-{step:09d}.safetensors"
        with self.replacing(name) as beside:
            save_file(arrays, beside, {"facts": json.dumps(facts)})
        for path in self.saved()[keep:]:
            path.unlink()

    def saved(self):
        """Paths of the checkpoints, the last first."""
        found = self.checkpoints.glob("step-*.safetensors")
        return sorted(
            (p for p in found if re.fullmatch(r"step-\d+", p.stem)),
            reverse=True,
        )

    def last(self):
        """The last checkpoint that can be read.

        Returns:
            Arrays and facts as `save` took them, or `None`.
        """
        for path in self.saved():
            try:
                with safe_open(path, "np") as file:
                    facts = json.loads(file.metadata()["facts"])
                    arrays = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
                    return arrays, facts
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                self.damaged.append(path)
        return None


def unreadable(path):
    """Returns the names in a list of unreadable examples, sorted.

    Args:
        path: Path of a text file; without one there are none.
    """
    try:
        names = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError:
        return []
    return sorted({name for name in names if name})


def finite(arrays):
    """Says whether all numbers of all arrays are finite."""
    return all(
        np.isfinite(a).all()
        for a in arrays.values()
        if np.issubdtype(a.dtype, np.floating)
    )


def _first_difference(before, now, prefix=""):
    """Name and both values of the first field that differs, or `None`."""
    for name, old in before.items():
        new = now[name]
        if isinstance(old, dict):
            inner = _first_difference(old, new, f"{prefix}{name}.")
            if inner:
                return inner
        elif old != new:
            return f"{prefix}{name}", old, new
    return None
