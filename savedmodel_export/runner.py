"""Runs an exported artefact; needs neither Keras nor this package.

Imported, it opens artefacts for this package. Run as a script, by its path
and in a process of its own, it shows that an artefact stands alone:

    python runner.py ARTEFACT IMAGES.npy RESULT.npz
"""

import sys
import time
from pathlib import Path

import numpy as np

SIGNATURE = "serving_default"
WARM_UP, TIMED = 3, 20


def open_artifact(path):
    """Opens a SavedModel or a LiteRT file.

    Args:
        path: A `.tflite` file, a SavedModel's folder, or a folder of numbered
            versions, of which the highest is taken.

    Returns:
        Callable from images, float32 array `(batch, height, width, channels)`
        with pixels in [0, 255], to an array `(batch, classes)`, and its input
        shape `(height, width, channels)`, `None` where any size goes.

    Raises:
        ValueError: If `path` is neither, or cannot be opened.
    """
    path = newest_version(path)
    if path.suffix == ".tflite" and path.is_file():
        return _open_litert(path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    raise ValueError(
        f"{path} is neither a .keras nor a .tflite file nor a SavedModel"
    )


def newest_version(path):
    """The highest version in a folder of versions; else the path itself."""
    path = Path(path)
    versions = []
    if path.is_dir():
        versions = [p for p in path.iterdir() if p.name.isdigit()]
    return max(versions, key=lambda p: int(p.name), default=path)


def _open_saved_model(path):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many kinds
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error
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
            interpreter.set_tensor(entry["index"], image[None])
            interpreter.invoke()
            scores.append(interpreter.get_tensor(leaving["index"])[0])
        return np.stack(scores)

    return predict, tuple(int(size) for size in entry["shape"][1:])


def latency(predict, image):
    """Median milliseconds for one image, after a warm-up."""
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[WARM_UP:]))


def _main(artifact, images, result):
    # TensorFlow imports Keras where it finds it; here any import of these
    # fails, so what runs does so without them.
    packages = ("gcvit_cli", "gcvit_keras", "keras", "savedmodel_export")
    for package in (*packages, "training"):
        sys.modules[package] = None
    images = np.load(images)
    predict, _ = open_artifact(artifact)
    scores = predict(images)
    np.savez(
        result,
        scores=scores,
        milliseconds=latency(predict, images[:1]),
        tensorflow="tensorflow" in sys.modules,
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
