"""Runs an exported artifact; needs neither Keras nor this package.

Imported, it opens artifacts for this package. Run as a script, by its path
and in a process of its own, it shows that an artifact stands alone:

    python runner.py ARTIFACT FOLDER

FOLDER holds `images.npy`, and `encoded/*.png` for a SavedModel that reads
files; `result.npz` is written into it.
"""

import sys
import time
from pathlib import Path

import numpy as np

PIXELS = "serve_images"
"""Signature that takes images as pixels."""
FILES = "serve_bytes"
"""Signature that takes image files."""
MASKS = "serve_bytes_masks"
"""Signature that takes image files, and gives masks as PNG files."""
FEATURES = "features"
"""Signature of the feature maps."""
WARM_UP, TIMED = 3, 20
LONGEST = 30
"""Seconds after which no further run is timed."""
BATCH = 32
"""Images per call."""
KINDS = {".tflite": "litert", ".onnx": "onnx"}
"""Suffixes of artifacts that are files."""


class Artifact:
    """An opened SavedModel, LiteRT or ONNX file.

    Args:
        path: Path of a `.tflite` or `.onnx` file, of a SavedModel's folder, or
            of a folder of numbered versions, of which the highest is taken.

    Attributes:
        path: Path of the very artifact.
        shape: Shape of one image, `(height, width, channels)`, `None` where
            any size goes.
        ranks: Dict from names of outputs to their number of dimensions.
        signatures: Dict from names to functions; of a SavedModel only.

    Raises:
        ValueError: If there is no such artifact, or it cannot be opened.
    """

    def __init__(self, path):
        """Opens the artifact."""
        self.path = newest_version(path)
        self.signatures = {}
        kind = KINDS.get(self.path.suffix)
        if self.path.is_file() and kind:
            open_it = {"litert": self._litert, "onnx": self._onnx}[kind]
        elif (self.path / "saved_model.pb").is_file():
            open_it = self._saved_model
        else:
            raise ValueError(
                f"{self.path} is neither a .keras, .tflite or .onnx file nor "
                "a SavedModel"
            )
        try:
            self._run, self.shape, self.ranks = open_it()
        except Exception as error:  # runtimes raise many kinds
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"{self.path} cannot be opened: {reason}"
            ) from error

    @property
    def names(self):
        """Names of the outputs, in alphabetical order."""
        return sorted(self.ranks)

    def __call__(self, images):
        """Computes the outputs of images.

        Args:
            images: Float32 array `(batch, height, width, channels)`, pixels
                in [0, 255].

        Returns:
            Dict from names of outputs to arrays `(batch, ...)`.
        """
        images = np.asarray(images, "float32")
        parts = [
            self._run(images[i : i + BATCH])
            for i in range(0, len(images), BATCH)
        ]
        return {
            name: np.concatenate([part[name] for part in parts])
            for name in self.names
        }

    def scores(self, images):
        """Computes the scores of images: the probabilities, or all there is.

        Args:
            images: As of `__call__`.

        Returns:
            Array `(batch, classes)`.
        """
        (name,) = self.names if len(self.names) == 1 else ["probabilities"]
        if name not in self.names:
            raise ValueError(f"{self.path} has several outputs: {self.names}")
        return self(images)[name]

    def _saved_model(self):
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(self.path))  # outlives them
        self.signatures = dict(self._loaded.signatures)
        signature = self.signatures.get(PIXELS)
        inputs = signature.structured_input_signature[1] if signature else {}
        if set(inputs) != {"images"}:
            raise ValueError(
                f"it has no signature {PIXELS} that takes images, as this "
                "library writes"
            )

        def run(images):
            outputs = signature(images=tf.constant(images))
            return {name: value.numpy() for name, value in outputs.items()}

        shape = tuple(inputs["images"].shape[1:])
        outputs = signature.structured_outputs
        return run, shape, {k: v.shape.rank for k, v in outputs.items()}

    def _litert(self):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(self.path))
        # Else LiteRT prepares it, and says so, in the midst of the first call.
        interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        ((entry, details),) = signature.get_input_details().items()

        def run(images):
            if details["dtype"] == np.uint8:
                images = np.clip(np.round(images), 0, 255).astype("uint8")
            rows = [signature(**{entry: image[None]}) for image in images]
            return {
                name: np.concatenate([row[name] for row in rows])
                for name in rows[0]
            }

        shape = tuple(int(size) for size in details["shape"][1:])
        outputs = signature.get_output_details()
        return run, shape, {k: len(v["shape"]) for k, v in outputs.items()}

    def _onnx(self):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(self.path))
        (entry,) = session.get_inputs()
        ranks = {o.name: len(o.shape) for o in session.get_outputs()}

        def run(images):
            parts = [images]
            if entry.shape[0] == 1:
                parts = [image[None] for image in images]
            values = [session.run(None, {entry.name: part}) for part in parts]
            values = map(np.concatenate, zip(*values, strict=True))
            return dict(zip(ranks, values, strict=True))

        sizes = (s if isinstance(s, int) else None for s in entry.shape[1:])
        return run, tuple(sizes), ranks


def newest_version(path):
    """Returns the highest version in a folder of versions, or the path."""
    path = Path(path)
    versions = []
    if path.is_dir():
        versions = [p for p in path.iterdir() if p.name.isdecimal()]
    return max(versions, key=lambda p: int(p.name), default=path)


def latency(predict, image):
    """Measures the median milliseconds for one image, after a warm-up."""
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - start)
        if sum(times) > LONGEST and len(times) > WARM_UP:
            break
    return 1000 * float(np.median(times[WARM_UP:]))


def _main(path, folder):
    # TensorFlow imports Keras where it finds it; here any import of these
    # fails, so what runs does so without them.
    packages = ("gcvit_cli", "gcvit_keras", "keras", "gcvit_export")
    for package in (*packages, "gcvit_training"):
        sys.modules[package] = None
    folder = Path(folder)
    images = np.load(folder / "images.npy")
    artifact = Artifact(path)
    found = {f"images/{k}": v for k, v in artifact(images).items()}
    found["milliseconds"] = latency(artifact, images[:1])
    found["tensorflow"] = "tensorflow" in sys.modules
    given = {}
    if FEATURES in artifact.signatures:
        given[FEATURES] = {"images": images[:BATCH]}
    files = sorted(folder.glob("encoded/*.png"))
    contents = np.array([file.read_bytes() for file in files], object)
    for name in (FILES, MASKS):
        if name in artifact.signatures and files:
            given[name] = {"image_bytes": contents}
    for name, inputs in given.items():
        import tensorflow as tf

        inputs = {k: tf.constant(v) for k, v in inputs.items()}
        for key, value in artifact.signatures[name](**inputs).items():
            found[f"{name}/{key}"] = value.numpy()
    texts = {
        k: v.astype("S")
        for k, v in found.items()
        if isinstance(v, np.ndarray) and v.dtype.kind == "O"
    }
    np.savez(folder / "result.npz", **(found | texts))


if __name__ == "__main__":
    _main(*sys.argv[1:])
