"""Compares an exported artefact with the Keras model it came from."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from gcvit_export import runner
from gcvit_export.paths import made_folder
from gcvit_export.samples import photographs
from gcvit_export.served import served_network
from gcvit_keras import ImageReader
from gcvit_keras.files import remove_abandoned, replacing

TOLERANCE = {
    "savedmodel": 1e-5,
    "litert float32": 1e-4,
    "litert float16": 1e-2,
    "onnx": 1e-4,
}
"""Largest allowed difference of a probability."""
LEAST_AGREEMENT = 0.97
"""Of an int8 model's top classes with its model's, on the user's images."""
LEAST_SNR = 10.0
"""Of an int8 model's logits, in dB."""
VERIFICATION_JSON = "verification.json"
LONGEST_RUN = 3600
"""Seconds after which a process that runs an artefact is given up."""
BEST_SNR = 300.0
"""Of logits that are the same, in dB; JSON knows no infinity."""


class VerificationError(ValueError):
    """An artefact does not compute what its model does."""


@dataclass(frozen=True)
class Verification:
    """What was seen when an artefact ran in a process of its own.

    Attributes:
        kind: `"savedmodel"`, `"onnx"`, or `"litert float32"`,
            `"litert float16"` or `"litert int8"` (weights at least).
        images: How many it was run on.
        difference: Largest difference of a probability from the model's.
        agreement: Share of images with the model's top class, in [0, 1].
        snr_db: Signal-to-noise ratio of the logits over all images, in dB:
            of the logarithms of the probabilities less their mean over the
            classes, which are the logits less theirs. Of a single
            probability, with its complement as a second class; so is
            `agreement`.
        milliseconds: Median time for one image at batch 1.
        size: Bytes on disk.
        reads_files: Whether `serve_bytes` was compared as well.
        scores: Its probabilities, array `(images, classes)`.
    """

    kind: str
    images: int
    difference: float
    agreement: float
    snr_db: float
    milliseconds: float
    size: int
    reads_files: bool
    scores: np.ndarray

    def as_dict(self):
        """All but the scores as plain data, with where and when it was."""
        found = {k: v for k, v in asdict(self).items() if k != "scores"}
        versions = {
            package: importlib.metadata.version(package)
            for package in ("keras", "tensorflow", "ai-edge-litert")
        }
        return found | {
            "tolerance": TOLERANCE.get(self.kind),
            "date": datetime.date.today().isoformat(),
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            **versions,
        }

    def write(self, path):
        """Writes `as_dict` as JSON.

        Args:
            path: Path of the file.
        """
        text = json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n"
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")


def verify(artifact, model, images=None) -> Verification:
    """Runs an artefact without Keras or this package and compares it.

    Allowed is a difference of a probability of 1e-5 for a SavedModel, 1e-4
    for LiteRT in float32 and for ONNX, 1e-2 for LiteRT in float16. LiteRT
    with int8 weights must have logits of a signal-to-noise ratio of 10 dB
    or more and, on `images` that are given, the model's top class on 97% of
    them.

    Args:
        artifact: Path of a SavedModel, a folder of its versions, or a
            `.tflite` or `.onnx` file.
        model: The Keras model, or any callable from images to probabilities.
        images: Array `(images, height, width, channels)`, pixels in
            [0, 255]; rounded. Default: photographs.

    Returns:
        A `Verification`.

    Raises:
        VerificationError: If the artefact differs by more, or does not run.
        ValueError: If there is no such artefact, or the model's scores are
            no probabilities.
    """
    artifact = runner.newest_version(artifact)
    if not artifact.exists():
        raise ValueError(f"`artifact` does not exist: {artifact}")
    is_saved_model = (artifact / "saved_model.pb").is_file()
    if artifact.suffix not in runner.KINDS and not is_saved_model:
        raise ValueError(
            "`artifact` must be a SavedModel, or a .tflite or .onnx file. "
            f"Received: {artifact}"
        )
    if isinstance(model, keras.Model):
        model = served_network(model)
    return check(artifact, model, images)


@contextlib.contextmanager
def verified_file(path, network, images, verify):
    """Gives a path to write to, which becomes `path` if it is verified.

    What was seen is then in `NAME.verification.json` beside it.

    Args:
        path: Path of the file to write or replace; its folder is made where
            missing.
        network: See `check`.
        images: See `verify`.
        verify: Whether to.

    Yields:
        `pathlib.Path` to write to.

    Raises:
        VerificationError: See `verify`.
        OSError: If the file cannot be made.
    """
    report = path.with_name(f"{path.name}.{VERIFICATION_JSON}")
    with made_folder(path.parent) as folder, replacing(path) as beside:
        remove_abandoned(folder)
        yield beside
        found = check(beside, network, images, path) if verify else None
        report.unlink(missing_ok=True)  # of the file that is replaced
    if found:
        found.write(report)


def check(artifact, network, images=None, name=None) -> Verification:
    """What `verify` does, of the very path.

    Args:
        artifact: Path of a SavedModel or a file.
        network: As `served_network` returns, or a callable from images to
            probabilities.
        images: See `verify`.
        name: What errors call the artefact. Default: its path.

    Returns:
        A `Verification`.

    Raises:
        VerificationError: See `verify`.
    """
    name = name or artifact
    ours = images is None
    reader = ImageReader.of(artifact) if artifact.is_dir() else None
    shape = getattr(network, "input_shape", (None,) * 4)[1:]
    if ours:
        if None in shape and artifact.suffix in runner.KINDS:
            _, shape = runner.open_artifact(artifact)
        usual = (*(reader.size if reader else (224, 224)), 3)
        sizes = zip(shape, usual, strict=True)
        images = photographs(*(size or other for size, other in sizes))
    images = checked_images(images, shape)
    files = []
    if reader is not None and images.shape[-1] == 3:
        files = photographs(*reader.size, count=2)
    seen = _run(artifact, name, images, files, reader)
    kind = _kind(artifact)
    if kind.startswith("litert") and seen["tensorflow"]:
        raise VerificationError(f"{name} ran with TensorFlow imported")
    expected = _expected(network, images)
    if ((expected < -1e-6) | (expected > 1 + 1e-6)).any():
        raise ValueError(
            "`model` must give probabilities: end it with a softmax or a "
            "sigmoid, or with a layer without activation, whose logits get a "
            f"softmax. Received: scores from {expected.min():.3g} to "
            f"{expected.max():.3g}"
        )
    if seen["scores"].shape != expected.shape:
        raise VerificationError(
            f"{name} gives scores {seen['scores'].shape}, the model "
            f"{expected.shape}"
        )
    found = Verification(
        kind=kind,
        images=len(images),
        difference=float(np.abs(seen["scores"] - expected).max()),
        agreement=float(
            np.mean(
                _classes(seen["scores"]).argmax(-1)
                == _classes(expected).argmax(-1)
            )
        ),
        snr_db=_snr(seen["scores"], expected),
        milliseconds=float(seen["milliseconds"]),
        size=_size(artifact),
        reads_files=bool(len(files)),
        scores=seen["scores"],
    )
    _check_tolerance(name, found, ours)
    if len(files):
        _check_files(name, artifact, seen, _expected(network, files))
    return found


def checked_images(images, shape, argument="images"):
    """Images of a shape, rounded to whole pixels.

    Args:
        images: As the user gave them.
        shape: `(height, width, channels)`, `None` where any size goes.
        argument: What the message calls them.

    Returns:
        Float32 array `(images, height, width, channels)` of whole numbers in
        [0, 255].

    Raises:
        ValueError: If they are of another shape, none, or no pixels.
    """
    images = np.asarray(images)
    if (
        images.dtype.kind not in "uif"
        or images.ndim != 4
        or not images.size
        or any(
            size not in (None, given)
            for size, given in zip(shape, images.shape[1:], strict=True)
        )
        or not (images.min() >= 0 and images.max() <= 255)  # NaN is neither
    ):
        between = ""
        if images.dtype.kind in "uif" and images.size:
            between = f", from {images.min()} to {images.max()}"
        raise ValueError(
            f"`{argument}` must be pixels in [0, 255] of shape "
            f"{(None, *shape)}. Received: an array of {images.dtype} of shape "
            f"{images.shape}{between}"
        )
    return np.round(images.astype("float32"))


def _run(artifact, name, images, files, reader):
    """What `runner.py` saw in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "images.npy", images)
        (folder / "encoded").mkdir()
        for i, pixels in enumerate(files):
            _framed(pixels, reader).save(folder / "encoded" / f"{i}.png")
        try:
            process = subprocess.run(
                # Without its folder in the path, where onnx.py lies.
                [sys.executable, "-P", runner.__file__, artifact, folder],
                capture_output=True,
                text=True,
                timeout=LONGEST_RUN,
            )
        except subprocess.TimeoutExpired:
            raise VerificationError(
                f"{name} has not run in {LONGEST_RUN} seconds"
            ) from None
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            named = [line for line in lines if "Error: " in line]
            reason = (named or lines)[-1].removeprefix("ValueError: ")
            raise VerificationError(f"{name} does not run: {reason}")
        return dict(np.load(folder / "result.npz"))


def _framed(pixels, reader):
    """An image of which `serve_bytes` crops these very pixels."""
    height, width = reader.size
    whole = [math.floor(s / reader.crop_ratio) for s in (width, height)]
    framed = Image.new("RGB", whole)
    place = (round((whole[0] - width) / 2), round((whole[1] - height) / 2))
    framed.paste(Image.fromarray(pixels.astype("uint8")), place)
    return framed


def _check_tolerance(name, found, ours):
    # Negated comparisons, so that NaN fails.
    tolerance = TOLERANCE.get(found.kind)
    if tolerance is not None:
        if not found.difference <= tolerance:
            raise VerificationError(
                f"{name} differs from the model by "
                f"{found.difference:.1e}, more than the {tolerance:.0e} "
                f"allowed for {found.kind}"
            )
        return
    if not found.snr_db >= LEAST_SNR:
        raise VerificationError(
            f"{name} has logits with a signal-to-noise ratio of "
            f"{found.snr_db:.1f} dB, less than the {LEAST_SNR:.0f} asked of "
            f"{found.kind}"
        )
    # On photographs of something else the classes may be a toss-up.
    if not ours and not found.agreement >= LEAST_AGREEMENT:
        raise VerificationError(
            f"{name} has the model's top class on "
            f"{found.agreement:.1%} of the images, less than the "
            f"{LEAST_AGREEMENT:.0%} asked of {found.kind}"
        )


def _check_files(name, artifact, seen, expected):
    """That `serve_bytes` gives what the model does of the same pixels."""
    difference = np.abs(seen["read_scores"] - expected).max()
    tolerance = TOLERANCE["savedmodel"]
    if not seen["read_valid"].all() or not difference <= tolerance:
        raise VerificationError(
            f"{name}: serve_bytes differs from the model by "
            f"{difference:.1e}, more than the {tolerance:.0e} allowed"
        )
    labels = Path(artifact, "assets", "labels.txt").read_text(
        "utf-8", "replace"
    )
    labels = labels.splitlines()
    if len(labels) != expected.shape[-1]:
        raise VerificationError(
            f"{name}: labels.txt has {len(labels)} labels for "
            f"{expected.shape[-1]} classes"
        )
    names = [labels[k] for k in seen["read_scores"].argmax(-1)]
    if seen["read_labels"].tolist() != names:
        raise VerificationError(
            f"{name}: serve_bytes names {seen['read_labels'].tolist()}, "
            f"where labels.txt has {names}"
        )


def _expected(network, images):
    """The model's probabilities."""
    parts = []
    for start in range(0, len(images), runner.BATCH):
        batch = images[start : start + runner.BATCH]
        if isinstance(network, keras.Model):  # augmentation may be part of it
            scores = network(batch, training=False)
        else:
            scores = network(batch)
        if isinstance(scores, dict):
            scores = scores["probabilities"]
        parts.append(np.asarray(scores))
    return np.concatenate(parts)


def _kind(artifact):
    if artifact.is_dir():
        return "savedmodel"
    kind = runner.KINDS[artifact.suffix]
    if kind != "litert":
        return kind
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(model_path=str(artifact)).get_tensor_details()
    found = {np.dtype(tensor["dtype"]).name for tensor in tensors}
    precision = next(
        (name for name in ("int8", "float16") if name in found), "float32"
    )
    return f"litert {precision}"


def _classes(scores):
    """Scores of two classes at least."""
    return scores if scores.shape[-1] > 1 else np.c_[scores, 1 - scores]


def _snr(scores, expected):
    signal, seen = (
        np.log(np.maximum(_classes(np.asarray(s, "float64")), 1e-12))
        for s in (expected, scores)
    )
    signal -= signal.mean(-1, keepdims=True)
    seen -= seen.mean(-1, keepdims=True)
    noise = ((signal - seen) ** 2).sum()
    if noise == 0:
        return BEST_SNR
    # Logits that are all the same have no signal.
    power = max((signal**2).sum(), 1e-30)
    return min(float(10 * np.log10(power / noise)), BEST_SNR)


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
