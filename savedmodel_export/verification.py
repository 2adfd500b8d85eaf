"""Compares an exported artifact with the Keras model it came from."""

import contextlib
import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gcvit_export import runner
from gcvit_export.comparison import (
    TOLERANCE,
    Comparison,
    VerificationError,
    check_allowed,
    compared,
)
from gcvit_export.paths import made_folder
from gcvit_export.samples import checked_images, framed, photographs
from gcvit_export.served import AUTO, Served, is_quantized, served
from gcvit_keras import ImageReader
from gcvit_keras.files import remove_abandoned, replacing

VERIFICATION_JSON = "verification.json"
LONGEST_RUN = 3600
"""Seconds after which a process that runs an artifact is given up."""


@dataclass(frozen=True)
class Verification(Comparison):
    """Result of running an artifact in a process of its own.

    Attributes:
        difference: See `Comparison`, as for the next two; the worst of the
            outputs.
        agreement: The share that agrees, in [0, 1].
        snr_db: The signal-to-noise ratio, in dB.
        kind: `"savedmodel"`, `"savedmodel int8"` of a model that Keras has
            quantized, `"onnx"`, or `"litert float32"`, `"litert float16"` or
            `"litert int8"` (weights at least).
        images: Number of images that it was run on.
        milliseconds: Median time for one image at batch 1.
        size: Bytes on disk.
        reads_files: Whether `serve_bytes` was compared as well.
        outputs: Dict from names of outputs to arrays `(images, ...)`, as the
            artifact computed them.
    """

    kind: str
    images: int
    milliseconds: float
    size: int
    reads_files: bool
    outputs: dict

    @property
    def scores(self) -> np.ndarray:
        """The probabilities, or the first of the outputs."""
        first = next(iter(self.outputs.values()))
        return self.outputs.get("probabilities", first)

    def as_dict(self):
        """All but the outputs as plain data, with where and when it was."""
        fields = {k: v for k, v in asdict(self).items() if k != "outputs"}
        versions = {
            package: importlib.metadata.version(package)
            for package in ("keras", "tensorflow", "ai-edge-litert")
        }
        return fields | {
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


class Exported(type(Path())):
    """Path of an artifact that was exported, a `pathlib.Path`.

    Attributes:
        verification: The `Verification`, or `None` with `verify=False`.
    """

    verification = None


def exported(path, verification) -> Exported:
    """Makes an `Exported`."""
    path = Exported(path)
    path.verification = verification
    return path


def verify(artifact, model, images=None, *, activation=AUTO) -> Verification:
    """Runs an artifact without Keras or this package and compares it.

    It is compared with the model itself, called on the same pixels, and with
    the activation, where the model lacks one, computed by numpy.

    Allowed is a difference of a probability of 1e-5 for a SavedModel, 1e-4
    for LiteRT in float32 and for ONNX, 1e-2 for LiteRT in float16; of other
    values the same share of the largest one, 1e-4 at least. Where weights are
    int8, logits must have a signal-to-noise ratio of 10 dB or more and, on
    `images` that are given, the model's top class on 97% of them.

    Args:
        artifact: Path of a SavedModel, a folder of its versions, or a
            `.tflite` or `.onnx` file.
        model: The Keras model, or any callable from images to probabilities.
        images: Array `(images, height, width, channels)`, pixels in
            [0, 255]; rounded. Default: photographs.
        activation: See `export_saved_model`.

    Returns:
        A `Verification`.

    Raises:
        VerificationError: If the artifact differs by more, or does not run.
        ValueError: If there is no such artifact.
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
    if hasattr(model, "layers"):
        model = served(model, activation, features=is_saved_model)
    return check(artifact, model, images)


@contextlib.contextmanager
def verified_file(path, model, images, verify):
    """Gives a path to write to, which becomes `path` if it is verified.

    What was seen is then in `NAME.verification.json` beside it.

    Args:
        path: Path of the file to write or replace; its folder is made where
            missing.
        model: A `Served`.
        images: See `verify`.
        verify: Whether to run it.

    Yields:
        `pathlib.Path` to write to, and a list that holds the `Exported` after
        the block.

    Raises:
        VerificationError: See `verify`.
        OSError: If the file cannot be made.
    """
    report = path.with_name(f"{path.name}.{VERIFICATION_JSON}")
    result = []
    with made_folder(path.parent) as folder, replacing(path) as beside:
        remove_abandoned(folder)
        yield beside, result
        verification = check(beside, model, images, path) if verify else None
        report.unlink(missing_ok=True)  # of the file that is replaced
    if verification:
        verification.write(report)
    result.append(exported(path, verification))


def check(artifact, model, images=None, name=None) -> Verification:
    """Does what `verify` does, of the very path.

    Args:
        artifact: Path of a SavedModel or a file.
        model: A `Served`, or a callable from images to probabilities.
        images: See `verify`.
        name: What errors call the artifact, a string. Default: its path.

    Returns:
        A `Verification`.

    Raises:
        VerificationError: See `verify`.
    """
    name = name or artifact
    ours = images is None
    reader = ImageReader.of(artifact) if artifact.is_dir() else None
    is_model = isinstance(model, Served)
    # The user's model, and not the network, decides on the size.
    shape = model.model.input_shape[1:] if is_model else (None,) * 3
    if ours:
        usual = (224, 224, 3)
        if artifact.suffix in runner.KINDS and None in shape:
            usual = runner.Artifact(artifact).shape
        elif reader is not None:
            usual = (*reader.size, reader.channels)
        sizes = zip(shape, usual, strict=True)
        images = photographs(*(size or other for size, other in sizes))
    images = checked_images(images, shape)
    files = ()
    if reader is not None:
        files = photographs(*reader.size, reader.channels, count=2)
    seen = _run(artifact, name, images, files, reader)
    kind = _kind(artifact, model)
    if kind.startswith("litert") and seen["tensorflow"]:
        raise VerificationError(f"{name} ran with TensorFlow imported")
    meanings, expected = _expected(model, images)
    outputs = {key: seen.get(f"images/{key}") for key in expected}
    comparisons = []
    for key, meaning in meanings.items():
        title = name if len(meanings) == 1 else f"{name}: {key}"
        found = _compared(title, outputs[key], expected[key], meaning)
        check_allowed(title, kind, found, meaning, not ours)
        comparisons.append(found)
    _check_features(name, kind, seen, model, images)
    reads_files = "serve_bytes/valid" in seen
    if reads_files:
        _check_files(name, artifact, kind, seen, *_expected(model, files))
    return Verification(
        difference=max(c.difference for c in comparisons),
        agreement=min(c.agreement for c in comparisons),
        snr_db=min(c.snr_db for c in comparisons),
        kind=kind,
        images=len(images),
        milliseconds=float(seen["milliseconds"]),
        size=_size(artifact),
        reads_files=reads_files,
        outputs=outputs,
    )


def _run(artifact, name, images, files, reader):
    """Returns what `runner.py` saw in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "images.npy", images)
        (folder / "encoded").mkdir()
        for i, pixels in enumerate(files):
            content = framed(pixels, reader)
            (folder / "encoded" / f"{i}.png").write_bytes(content)
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


def _expected(model, images):
    """Returns what outputs mean, and what the user's model computes."""
    parts = [
        images[i : i + runner.BATCH]
        for i in range(0, len(images), runner.BATCH)
    ]
    if isinstance(model, Served):
        meanings = model.meanings
        parts = [model.expected(part) for part in parts]
    else:
        parts = [{"probabilities": np.asarray(model(part))} for part in parts]
        single = parts[0]["probabilities"].shape[-1] == 1
        meanings = {"probabilities": "sigmoid" if single else "softmax"}
    return meanings, {
        name: np.concatenate([part[name] for part in parts])
        for name in meanings
    }


def _compared(name, values, expected, meaning):
    shape = getattr(values, "shape", "none")
    if shape != expected.shape:
        raise VerificationError(
            f"{name} gives values of shape {shape}, the model {expected.shape}"
        )
    return compared(values, expected, meaning)


def _check_features(name, kind, seen, model, images):
    """Compares the feature maps, where there are any."""
    theirs = isinstance(model, Served) and model.features
    if not theirs or f"{runner.FEATURES}/pooled" not in seen:
        return
    expected = model.expected_features(images[: runner.BATCH])
    for key, values in expected.items():
        title = f"{name}: {key}"
        found = seen[f"{runner.FEATURES}/{key}"]
        check_allowed(title, kind, _compared(title, found, values, None), None)


def _check_files(name, artifact, kind, seen, meanings, expected):
    """Compares what `serve_bytes` gives of files of the same pixels."""
    found = {
        key: seen.get(f"{runner.FILES}/{key}")
        for key in (*meanings, "valid", "top_labels")
    }
    if not found["valid"].all():
        raise VerificationError(f"{name}: serve_bytes cannot read a PNG")
    for key, meaning in meanings.items():
        title = f"{name}: serve_bytes"
        comparison = _compared(title, found[key], expected[key], meaning)
        check_allowed(title, kind, comparison, meaning)
    if found["top_labels"] is None:
        return
    scores = found["probabilities"]
    labels = Path(artifact, "assets", "labels.txt").read_bytes().splitlines()
    if len(labels) != scores.shape[-1]:
        raise VerificationError(
            f"{name}: labels.txt has {len(labels)} labels for "
            f"{scores.shape[-1]} classes"
        )
    best = [labels[k] for k in scores.argmax(-1)]
    if found["top_labels"][:, 0].tolist() != best:
        raise VerificationError(
            f"{name}: serve_bytes names {found['top_labels'][:, 0].tolist()}, "
            f"where labels.txt has {best}"
        )


def _kind(artifact, model):
    if artifact.is_dir():
        is_int8 = isinstance(model, Served) and is_quantized(model.model)
        return "savedmodel int8" if is_int8 else "savedmodel"
    kind = runner.KINDS[artifact.suffix]
    if kind != "litert":
        return kind
    from ai_edge_litert.interpreter import Interpreter

    tensors = Interpreter(model_path=str(artifact)).get_tensor_details()
    dtypes = {np.dtype(tensor["dtype"]).name for tensor in tensors}
    precision = next(
        (name for name in ("int8", "float16") if name in dtypes), "float32"
    )
    return f"litert {precision}"


def _size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files if f.is_file())
