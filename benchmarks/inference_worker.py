"""A contender of benchmarks/inference.py: calls of GC ViT tiny.

python inference_worker.py TITLE FOLDER CALLS CORES BATCH [BATCH ...]

TITLE is one of `CONTENDERS`, FOLDER has what exports.py wrote. A round's
result is, by batch, the seconds of each call.
"""

import sys
import time
from functools import partial

import numpy as np
from worker import serve

# Each makes, of FOLDER and CORES, the function that brings images into the
# form that calls take, which is not measured, and the call.


def ours(folder):
    """Loads the Keras model of this library."""
    import keras

    import gcvit_keras  # noqa: F401, registers the layers

    return keras.models.load_model(f"{folder}/tiny.keras", compile=False)


def gcvit(folder):
    """Makes gcvit's Keras model."""
    import gcvit

    return gcvit.GCViTTiny(input_shape=(224, 224, 3))


def kecam(folder):
    """Makes the Keras model of keras-cv-attention-models."""
    from keras_cv_attention_models import gcvit

    return gcvit.GCViT_Tiny(pretrained=None)


def predict(build, folder, cores):
    """Calls Keras's `predict`."""
    model = build(folder)
    return np.asarray, lambda images: model.predict(images, verbose=0)


def function(build, folder, cores):
    """Calls a Keras model in a graph."""
    model = build(folder)
    import tensorflow as tf

    graph = tf.function(lambda x: model(x, training=False), autograph=False)
    return tf.constant, lambda images: graph(images).numpy()


def saved_model(kind, folder, cores):
    """Calls a SavedModel's signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(f"{folder}/{kind}/1")
    signatures = loaded.signatures

    def call(images):
        signatures["serving_default"](images=images)["probabilities"].numpy()

    return tf.constant, call


def litert(kind, folder, cores):
    """Calls a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    file = f"{folder}/tiny_{kind}.tflite"
    interpreter = Interpreter(file, num_threads=cores)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    leaving = interpreter.get_output_details()[0]["index"]

    def call(images):
        interpreter.set_tensor(entry, images)
        interpreter.invoke()
        interpreter.get_tensor(leaving)

    return np.asarray, call


def nchw(images):
    """Images as PyTorch's models take them."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def onnx(file, prepare, folder, cores):
    """Calls an ONNX file in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{folder}/{file}")
    (entry,) = session.get_inputs()
    return prepare, lambda images: session.run(None, {entry.name: images})


def openvino(folder, cores):
    """Calls timm's ONNX file in OpenVINO."""
    import openvino

    compiled = openvino.Core().compile_model(
        f"{folder}/timm.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return nchw, lambda images: compiled(images)[0]


def timm(bfloat16, folder, cores):
    """Calls timm's model in eager PyTorch."""
    import timm
    import torch

    model = timm.create_model("gcvit_tiny").eval()

    def prepare(images):
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def call(images):
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            model(images).float().numpy()

    return prepare, call


OURS = ("tensorflow", "keras", "gcvit-keras")
LITERT = ("ai-edge-litert", "gcvit-keras")
TIMM = ("torch", "timm")
GCVIT = ("keras", "tensorflow", "gcvit")
CONTENDERS = {
    "Keras predict": (partial(predict, ours), *OURS),
    "Keras in tf.function": (partial(function, ours), *OURS),
    "SavedModel": (partial(saved_model, "saved"), *OURS),
    "SavedModel, bfloat16": (partial(saved_model, "bfloat16"), *OURS),
    **{
        f"LiteRT {kind}": (partial(litert, kind), *LITERT)
        for kind in ("float32", "float16", "dynamic", "int8")
    },
    "ONNX Runtime": (partial(onnx, "tiny.onnx", np.asarray), "onnxruntime"),
    "timm, eager": (partial(timm, False), *TIMM),
    "timm, eager, bfloat16": (partial(timm, True), *TIMM),
    "timm in ONNX Runtime": (partial(onnx, "timm.onnx", nchw), "onnxruntime"),
    "timm in OpenVINO": (openvino, "openvino"),
    "gcvit 1.1.6, predict": (partial(predict, gcvit), *GCVIT),
    "gcvit 1.1.6 in tf.function": (partial(function, gcvit), *GCVIT),
    "keras-cv-attention-models 1.4.3 in tf.function": (
        partial(function, kecam),
        *("keras", "tensorflow"),
    ),
}
"""By title: what makes a contender, and the packages whose versions count."""


def main():
    """Serves rounds of calls."""
    title, folder, *numbers = sys.argv[1:]
    calls, cores, *batches = map(int, numbers)
    images = np.random.default_rng(0).uniform(0, 255, (8, 224, 224, 3))
    images = images.astype("float32")
    make, *packages = CONTENDERS[title]
    prepare, call = make(folder, cores)

    def run():
        seconds = {}
        for batch in batches:
            prepared = prepare(images[:batch])
            call(prepared)
            seconds[batch] = []
            for _ in range(calls):
                start = time.perf_counter()
                call(prepared)
                seconds[batch].append(time.perf_counter() - start)
        return seconds

    serve(run, *packages)


if __name__ == "__main__":
    main()
