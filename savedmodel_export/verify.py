"""Compares an exported artefact with the Keras model it came from."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from savedmodel_export import runner

TOLERANCE = {"savedmodel": 1e-5, "litert": 1e-4}
"""Largest allowed difference of a probability."""

BATCH = 64
"""Images a call of the Keras model."""


class VerificationError(ValueError):
    """An artefact does not compute what its model does."""


@dataclass(frozen=True)
class Verification:
    """What was seen when an artefact ran in a process of its own.

    Attributes:
        kind: `"savedmodel"` or `"litert"`.
        difference: Largest difference of a probability from the model's.
        agreement: Share of images with the model's top class, in [0, 1].
        milliseconds: Median time for one image at batch 1.
        size: Bytes on disk.
        scores: Its probabilities, array `(images, classes)`.
    """

    kind: str
    difference: float
    agreement: float
    milliseconds: float
    size: int
    scores: np.ndarray


def verify(artifact, model, images) -> Verification:
    """Runs an artefact without Keras or this package and compares it.

    Args:
        artifact: Path of a SavedModel, a folder of its versions, or a
            `.tflite` file.
        model: The Keras model, or any callable from images to probabilities.
        images: Float32 array `(images, height, width, channels)`, pixels in
            [0, 255].

    Returns:
        A `Verification`.

    Raises:
        VerificationError: If a probability differs by more than
            `TOLERANCE[kind]`, or the artefact does not run.
        ValueError: If there is no such artefact.
    """
    artifact = runner.newest_version(artifact)
    if not artifact.exists():
        raise ValueError(f"`artifact` does not exist: {artifact}")
    kind = "savedmodel" if artifact.is_dir() else "litert"
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "images.npy"), Path(folder, "result.npz")
        np.save(given, np.asarray(images, "float32"))
        process = subprocess.run(
            [sys.executable, runner.__file__, artifact, given, result],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            reason = lines[-1].removeprefix("ValueError: ")
            raise VerificationError(f"{artifact} does not run: {reason}")
        seen = dict(np.load(result))
    if kind == "litert" and seen["tensorflow"]:
        raise VerificationError(f"{artifact} ran with TensorFlow imported")
    expected = np.concatenate(
        [
            np.asarray(model(images[start : start + BATCH]))
            for start in range(0, len(images), BATCH)
        ]
    )
    difference = np.abs(seen["scores"] - expected).max()
    # Negated, so that NaN fails.
    if not difference <= TOLERANCE[kind]:
        raise VerificationError(
            f"{artifact} differs from the model by {difference:.1e}, more "
            f"than the {TOLERANCE[kind]:.0e} allowed"
        )
    return Verification(
        kind=kind,
        difference=float(difference),
        agreement=float(
            np.mean(seen["scores"].argmax(-1) == expected.argmax(-1))
        ),
        milliseconds=float(seen["milliseconds"]),
        size=_size(artifact),
        scores=seen["scores"],
    )


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
