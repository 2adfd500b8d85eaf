"""A contender of benchmarks/variants.py: one variant in a graph or a file.

python variants_worker.py {write,file,graph,step} VARIANT FOLDER CALLS

`write` makes the LiteRT file in FOLDER and ends. Of the others a round's result
is the milliseconds of each call; of `graph` by batch and per image, of `file`
with the megabytes of the file.
"""

import os
import sys
import time

import numpy as np
from worker import serve

KERAS = ("keras", "tensorflow", "gcvit-keras")


def build(name):
    """Makes the Keras model."""
    import keras

    from gcvit_keras.models.constructors import CONSTRUCTORS
    from gcvit_keras.variants import VARIANTS

    keras.utils.set_random_seed(0)
    model = CONSTRUCTORS[name](weights=None)
    assert model.count_params() == VARIANTS[name].parameters
    return model


def timed(call, calls):
    """Milliseconds of each call."""
    milliseconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return milliseconds


def write(name, path):
    """Writes the LiteRT file."""
    from gcvit_export import export_litert

    export_litert(build(name), path, "dynamic", verify=False)


def file(name, path, calls):
    """Serves rounds of the LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    cores = len(os.sched_getaffinity(0))
    interpreter = Interpreter(path, num_threads=cores)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    images = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3))
    interpreter.set_tensor(entry, images.astype("float32"))
    interpreter.invoke()
    megabytes = os.path.getsize(path) / 1e6

    def run():
        return {"file": timed(interpreter.invoke, calls), "mb": [megabytes]}

    serve(run, "ai-edge-litert")


def graph(name, path, calls):
    """Serves rounds of the Keras model in a graph."""
    model = build(name)
    import tensorflow as tf

    images = tf.random.uniform((8, 224, 224, 3), 0, 255)
    function = tf.function(lambda x: model(x, training=False), autograph=False)

    def run():
        result = {}
        for batch in (1, 8):
            x = images[:batch]
            function(x).numpy()
            times = timed(lambda x=x: function(x).numpy(), calls)
            result[f"batch {batch}"] = [t / batch for t in times]
        return result

    serve(run, *KERAS)


def step(name, path, calls):
    """Serves rounds of training steps."""
    model = build(name)
    import keras
    import tensorflow as tf

    images = tf.random.uniform((8, 224, 224, 3), 0, 255)
    labels = tf.range(8)
    model.compile(
        keras.optimizers.AdamW(1e-4), "sparse_categorical_crossentropy"
    )

    def call():
        model.train_on_batch(images, labels)

    call()
    serve(lambda: {"step": timed(call, calls)}, *KERAS)


def main():
    """Writes, or serves rounds."""
    kind, name, folder, calls = sys.argv[1:]
    path = f"{folder}/{name}.tflite"
    if kind == "write":
        return write(name, path)
    serves = {"file": file, "graph": graph, "step": step}
    serves[kind](name, path, int(calls))


if __name__ == "__main__":
    main()
