"""Every published variant on this machine: its facts, time and memory.

    python benchmarks/variants.py [VARIANT ...] [--rounds 3] [--calls 3]

Random weights, float32, 224 x 224, 1000 classes, all cores: the Keras model in
a graph, a training step of it by `model.fit` and AdamW, and its LiteRT file
with int8 weights (`dynamic`). Graphs are processes of their own, idle while
another is measured, their rounds interleaved; so are the files. A step is
measured in processes that follow one another, since together they do not fit
into memory. Prints a Markdown table: medians, their spread over the rounds,
and the most memory that each process had, TensorFlow's and Keras's with it.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile

from contenders import Contender, machine, measure, print_versions

from gcvit_keras.variants import VARIANTS

MODEL = """
import sys, time
import keras, numpy as np, tensorflow as tf
from gcvit_keras.models.constructors import CONSTRUCTORS
name, folder, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
keras.utils.set_random_seed(0)
model = CONSTRUCTORS[name](weights=None)
assert model.count_params() == int(sys.argv[4])
images = tf.random.uniform((8, 224, 224, 3), 0, 255)
def timed(call):
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(1000 * (time.perf_counter() - start))
    return seconds
"""

GRAPH = (
    MODEL
    + """
function = tf.function(lambda x: model(x, training=False), autograph=False)
def run():
    found = {}
    for batch in (1, 8):
        given = images[:batch]
        function(given).numpy()
        calls = timed(lambda: function(given).numpy())
        found[f"batch {batch}"] = [call / batch for call in calls]
    return found
serve(run, "keras", "tensorflow", "gcvit-keras")
"""
)

STEP = (
    MODEL
    + """
model.compile(keras.optimizers.AdamW(1e-4), "sparse_categorical_crossentropy")
labels = tf.range(8)
model.train_on_batch(images, labels)
def run():
    return {"step": timed(lambda: model.train_on_batch(images, labels))}
serve(run, "keras", "tensorflow", "gcvit-keras")
"""
)

WRITE = (
    MODEL
    + """
from gcvit_export import export_litert
path = f"{folder}/{name}.tflite"
export_litert(model, path, "dynamic", verify=False)
"""
)

FILE = """
import os, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
name, folder, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
path = f"{folder}/{name}.tflite"
interpreter = Interpreter(path, num_threads=len(os.sched_getaffinity(0)))
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]["index"]
images = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3))
interpreter.set_tensor(entry, images.astype("float32"))
interpreter.invoke()
def run():
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(1000 * (time.perf_counter() - start))
    return {"file": seconds, "mb": [os.path.getsize(path) / 1e6]}
serve(run, "ai-edge-litert")
"""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3, help="in a round")
    arguments = parser.parse_args()
    names = arguments.variants
    for name in names:
        if name not in VARIANTS:
            parser.error(f"{name} is none of {', '.join(VARIANTS)}")
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:

        def given(name):
            return name, folder, arguments.calls, VARIANTS[name].parameters

        def start(code, name):
            return Contender(code, None, None, given(name))

        for name in names:
            command = [sys.executable, "-c", WRITE, *map(str, given(name))]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        rounds = arguments.rounds
        files = measure(names, lambda name: start(FILE, name), rounds)
        graphs = measure(names, lambda name: start(GRAPH, name), rounds)
        steps = {}
        for name in names:
            steps |= measure([name], lambda name: start(STEP, name), rounds)
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, "
        f"{rounds} rounds of {arguments.calls} calls\n"
    )
    print(
        "| variant | parameters | GMACs | published top-1 | graph, batch 1, ms "
        "| batch 8, ms an image | MiB | LiteRT `dynamic`, ms | MB | MiB "
        "| training step of 8, s | MiB |"
    )
    print("|---" * 12 + "|")
    for name in names:
        facts, graph, file = VARIANTS[name], graphs[name], files[name]
        cells = [
            f"{facts.parameters / 1e6:.1f} M",
            f"{facts.gmacs:.2f}",
            f"{facts.top1}",
            spread(graph, "batch 1"),
            spread(graph, "batch 8"),
            f"{graph.get('peak_mib', 0):.0f}",
            spread(file, "file"),
            spread(file, "mb").partition(" ")[0],
            f"{file.get('peak_mib', 0):.0f}",
            spread(steps[name], "step", 1000),
            f"{steps[name].get('peak_mib', 0):.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print()
    for results in (graphs, files, steps):
        print_versions(dict([next(iter(results.items()))]))


def spread(result, what, unit=1):
    """Median over all calls, and the medians of the rounds, as text."""
    if "failed" in result:
        return result["failed"]
    rounds = [r[what] for r in result["rounds"]]
    medians = [statistics.median(r) / unit for r in rounds]
    median = statistics.median(sum(rounds, [])) / unit
    digits = 1 if unit > 1 else 0
    return (
        f"{median:.{digits}f} ({min(medians):.{digits}f} to "
        f"{max(medians):.{digits}f})"
    )


if __name__ == "__main__":
    main()
