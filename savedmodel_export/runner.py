"""Runs an exported artefact; needs neither Keras nor this package.

Imported, it opens artefacts for this package. Run as a script, by its path
and in a process of its own, it shows that an artefact stands alone:

    python runner.py ARTEFACT FOLDER

FOLDER holds `images.npy`, and `encoded/*.png` for a SavedModel that reads
files; `result.npz` is written into it.
"""

import sys
import time
from pathlib import Path

import numpy as np

SIGNATURE = "serving_default"
WARM_UP, TIMED = 3, 20
BATCH = 32
"""Images a call."""
KINDS = {".tflite": "litert", ".onnx": "onnx"}
"""Suffixes of artefacts that are files."""


def open_artifact(path):
    """Opens a SavedModel, a LiteRT or an ONNX file.

    Args:
        path: A `.tflite` or `.onnx` file, a SavedModel's folder, or a folder
            of numbered versions, of which the highest is taken.

    Returns:
        Callable from images, float32 array `(batch, height, width, channels)`
        with pixels in [0, 255], to an array `(batch, classes)`, and its input
        shape `(height, width, channels)`, `None` where any size goes.

    Raises:
        ValueError: If `path` is neither, or cannot be opened.
    """
    path = newest_version(path)
    if path.is_file() and path.suffix in KINDS:
        open_file = {"litert": _open_litert, "onnx": _open_onnx}
        return open_file[KINDS[path.suffix]](path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    raise ValueError(
        f"{path} is neither a .keras, .tflite or .onnx file nor a SavedModel"
    )


def newest_version(path):
    """The highest version in a folder of versions; else the path itself."""
    path = Path(path)
    versions = []
    if path.is_dir():
        versions = [p for p in path.iterdir() if p.name.isdecimal()]
    return max(versions, key=lambda p: int(p.name), default=path)


def _open_saved_model(path):
    import tensorflow as tf

    loaded = _load(path)
    signature = loaded.signatures.get(SIGNATURE)
    inputs = signature.structured_input_signature[1] if signature else {}
    outputs = signature.structured_outputs if signature else {}
    if set(inputs) != {"images"} or "probabilities" not in outputs:
        raise ValueError(
            f"{path} has no signature {SIGNATURE} from images to "
            "probabilities, as this library writes"
        )

    def predict(images, keep_alive=loaded):  # signatures do not
        scores = signature(images=tf.constant(images, tf.float32))
        return scores["probabilities"].numpy()

    return predict, tuple(inputs["images"].shape[1:])


def _load(path):
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error


def _open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error
    (entry,) = interpreter.get_input_details()
    (leaving,) = interpreter.get_output_details()

    def predict(images):
        scores = []
        for image in np.asarray(images, "float32"):
            pixels = image[None]
            if entry["dtype"] == np.uint8:
                pixels = np.clip(np.round(pixels), 0, 255).astype("uint8")
            interpreter.set_tensor(entry["index"], pixels)
            interpreter.invoke()
            scores.append(interpreter.get_tensor(leaving["index"])[0])
        return np.stack(scores)

    return predict, tuple(int(size) for size in entry["shape"][1:])


def _open_onnx(path):
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path))
    except Exception as error:  # of no common class
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error
    (entry,) = session.get_inputs()

    def predict(images):
        images = np.asarray(images, "float32")
        return session.run(None, {entry.name: images})[0]

    sizes = (s if isinstance(s, int) else None for s in entry.shape[1:])
    return predict, tuple(sizes)


def _read_files(path, files):
    """What `serve_bytes` says of image files."""
    import tensorflow as tf

    loaded = _load(path)  # has to outlive its signature
    return loaded.signatures["serve_bytes"](
        image_bytes=tf.constant([file.read_bytes() for file in files])
    )


def latency(predict, image):
    """Median milliseconds for one image, after a warm-up."""
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[WARM_UP:]))


def _main(artifact, folder):
    # TensorFlow imports Keras where it finds it; here any import of these
    # fails, so what runs does so without them.
    packages = ("gcvit_cli", "gcvit_keras", "keras", "gcvit_export")
    for package in (*packages, "gcvit_training"):
        sys.modules[package] = None
    folder = Path(folder)
    images = np.load(folder / "images.npy")
    predict, _ = open_artifact(artifact)
    result = {
        "scores": np.concatenate(
            [
                predict(images[i : i + BATCH])
                for i in range(0, len(images), BATCH)
            ]
        ),
        "milliseconds": latency(predict, images[:1]),
        "tensorflow": "tensorflow" in sys.modules,
    }
    files = sorted(folder.glob("encoded/*.png"))
    if files:
        read = _read_files(artifact, files)
        result["read_scores"] = read["probabilities"].numpy()
        result["read_valid"] = read["valid"].numpy()
        result["read_labels"] = [
            label.decode() for label in read["top_labels"][:, 0].numpy()
        ]
    np.savez(folder / "result.npz", **result)


if __name__ == "__main__":
    _main(*sys.argv[1:])
