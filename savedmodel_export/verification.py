"""Compares an exported artifact with the Keras model it came from."""

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
    Seen,
    VerificationError,
)
from gcvit_export.kinds.base import AUTO, Served, is_quantized
from gcvit_export.kinds.classifier import Function
from gcvit_export.paths import made_folder
from gcvit_export.samples import checked_images, photographs
from gcvit_export.served import served
from gcvit_keras.files import remove_abandoned, replacing

VERIFICATION_JSON = "verification.json"
LONGEST_RUN = 3600
"""Seconds after which a process that runs an artifact is given up."""


@dataclass(frozen=True)
class Verification(Comparison):
    """Result of running an artifact in a process of its own.

    Attributes:
        difference: See `Comparison`, as for the next three; the worst of the
            outputs.
        agreement: The share that agrees, in [0, 1].
        snr_db: The signal-to-noise ratio, in dB.
        detections: The number of detections, or `None`.
        kind: `"savedmodel"`, `"savedmodel int8"` of a model that Keras has
            quantized, `"onnx"`, or `"litert float32"`, `"litert float16"` or
            `"litert int8"` (weights at least); of a detector with
            `" detections"` behind.
        images: Number of images that it was run on.
        milliseconds: Median time for one image at batch 1.
        size: Bytes on disk.
        reads_files: Whether `serve_bytes` was compared as well.
        outputs: Dict from names of outputs to arrays `(images, ...)`, as the
            artifact computed them.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_litert
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> report = export_litert(model, "model.tflite").verification
    >>> print(report.kind, report.images > 0, sorted(report.outputs))
    litert float32 True ['probabilities']
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
        """Returns what JSON can hold: all but the outputs, and where it was."""
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
        """Writes `as_dict` as JSON."""
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

    It is compared with the model itself, called on the same pixels. Where the
    model lacks the activation, numpy computes it.

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
        ValueError: If there is no such artifact, or `activation` is given for
            a function.

    Examples:
    >>> import keras
    >>> from gcvit_export import export_litert, verify
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((32, 32, 3)),
    ...         keras.layers.GlobalAveragePooling2D(),
    ...         keras.layers.Dense(2, activation="softmax"),
    ...     ]
    ... )
    >>> file = export_litert(model, "model.tflite", verify=False)
    >>> print(verify(file, model).difference < 1e-4)
    True
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
    elif activation != AUTO:
        raise ValueError(
            "`activation` must be 'auto' for a function, which gives "
            f"probabilities. Received: activation={activation!r}"
        )
    return check(artifact, model, images)


def written(path, model, images, verify, write) -> Exported:
    """Writes a file beside its place, where it is moved if it is verified.

    The report is then in `NAME.verification.json` beside it.

    Args:
        path: Path of the file to write or replace; its folder is made where
            missing.
        model: A `Served` of a fixed size.
        images: See `verify`.
        verify: Whether to run it.
        write: Function of the `pathlib.Path` to write to.

    Returns:
        An `Exported`.
    """
    if images is not None:  # before a conversion of minutes
        images = checked_images(images, model.shape)
    report = path.with_name(f"{path.name}.{VERIFICATION_JSON}")
    with made_folder(path.parent) as folder, replacing(path) as beside:
        remove_abandoned(folder)
        write(beside)
        verification = check(beside, model, images, path) if verify else None
        report.unlink(missing_ok=True)  # of the file that is replaced
    if verification:
        verification.write(report)
    return exported(path, verification)


def check(artifact, model, images=None, name=None) -> Verification:
    """Runs the artifact at this very path, and compares it as `verify` does.

    `model` may be a `Served`; `name` is what errors call the artifact, by
    default its path.
    """
    name = name or artifact
    ours = images is None
    if not isinstance(model, Served):
        model = Function(model)
    reader = model.reader_of(artifact) if artifact.is_dir() else None
    # The user's model, and not the network, decides on the size.
    shape = model.model_shape
    if ours:
        usual = (*model.checked_size(reader), getattr(reader, "channels", 3))
        if artifact.suffix in runner.KINDS and None in shape:
            usual = runner.Artifact(artifact).shape
        sizes = zip(shape, usual, strict=True)
        images = photographs(*(size or other for size, other in sizes))
    images = checked_images(images, shape)
    files, known = model.files(reader) if reader is not None else ((), None)
    seen = _run(artifact, name, images, files)
    kind = _kind(artifact, model) + model.what
    if kind.startswith("litert") and seen["tensorflow"]:
        raise VerificationError(f"{name} ran with TensorFlow imported")
    comparisons = model.check(
        Seen(str(name), artifact, kind), seen, images, known, not ours
    )
    return Verification(
        difference=max(c.difference for c in comparisons),
        agreement=min(c.agreement for c in comparisons),
        snr_db=min(c.snr_db for c in comparisons),
        detections=comparisons[0].detections,
        kind=kind,
        images=len(images),
        milliseconds=float(seen["milliseconds"]),
        size=_size(artifact),
        reads_files=f"{runner.FILES}/valid" in seen,
        outputs={
            key.removeprefix("images/"): values
            for key, values in seen.items()
            if key.startswith("images/")
        },
    )


def _run(artifact, name, images, files):
    """Returns what `runner.py` saw in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.save(folder / "images.npy", images)
        (folder / "encoded").mkdir()
        for i, content in enumerate(files):
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


def _kind(artifact, model):
    if artifact.is_dir():
        is_int8 = model.model is not None and is_quantized(model.model)
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
