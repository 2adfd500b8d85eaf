"""Images a second and memory on a GPU: XLA, float16 and the batch.

    python benchmarks/gpu.py [--variant tiny] [--batches 1 8 32 128]

Inference and a training step (AdamW, drop path as the variant has it), in
float32 and in mixed float16, without and with XLA, over batches. Each of the
eight is a process of its own, and their rounds are interleaved; a GPU's memory
is taken as it is needed. Peak memory is the GPU's as TensorFlow counts it, of
the batch; without a GPU, the process's so far. A batch that does not fit ends
the sweep of its configuration. Prints a Markdown table; writes JSON.

Runs on a CPU, too, but no GPU has been measured with it yet.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from contenders import Contender, machine, measure, print_versions

CODE = """
import json, sys, time
import numpy as np
import keras, tensorflow as tf
import gcvit_keras
from gcvit_keras.models import gcvit
given = json.loads(sys.argv[1])
side, steps = given["side"], given["steps"]
gpus = tf.config.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
keras.utils.set_random_seed(0)
keras.config.set_dtype_policy(given["policy"])
model = gcvit.CONSTRUCTORS[given["variant"]](
    weights=None, input_shape=(side, side, 3)
)
if given["train"]:
    model.compile(
        keras.optimizers.AdamW(1e-4),
        "sparse_categorical_crossentropy",
        jit_compile=given["xla"],
    )
    step = model.train_on_batch
else:
    function = tf.function(
        lambda x: model(x, training=False),
        jit_compile=given["xla"],
        autograph=False,
    )
    def step(images, labels):
        function(images).numpy()
rng = np.random.default_rng(0)
def run():
    found = {}
    for batch in given["batches"]:
        images = rng.uniform(0, 255, (batch, side, side, 3)).astype("float32")
        images = tf.constant(images)
        labels = tf.constant(rng.integers(0, 1000, batch))
        if gpus:
            tf.config.experimental.reset_memory_stats("GPU:0")
        try:
            step(images, labels)  # traces and compiles
            seconds = []
            for _ in range(steps):
                start = time.perf_counter()
                step(images, labels)
                seconds.append(time.perf_counter() - start)
        except tf.errors.ResourceExhaustedError:
            break
        if gpus:
            info = tf.config.experimental.get_memory_info("GPU:0")
            memory = info["peak"] / 2**20
        else:
            memory = peak()
        found[batch] = {"seconds": seconds, "mib": memory}
    return found
serve(run, "keras", "tensorflow", "gcvit-keras")
"""

POLICIES = {"float32": "float32", "float16": "mixed_float16"}


def main():
    """Prints the table; writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--side", type=int, default=224, help="of the images")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--steps", type=int, default=10, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file to write")
    arguments = parser.parse_args()
    given = {
        f"{what}, {name}{', XLA' if xla else ''}": {
            **vars(arguments),
            "train": what == "training step",
            "policy": policy,
            "xla": xla,
        }
        for what in ("inference", "training step")
        for name, policy in POLICIES.items()
        for xla in (False, True)
    }
    results = measure(
        given,
        lambda title: Contender(
            CODE, sys.executable, None, (json.dumps(given[title]),)
        ),
        arguments.rounds,
    )
    print(f"{machine()}, {arguments.variant}, {arguments.rounds} rounds\n")
    print("| | batch | images/s | spread of rounds | peak, MiB |")
    print("|---" * 5 + "|")
    for title, result in results.items():
        for row in rows(result):
            print(f"| {title} | {' | '.join(row)} |")
    print()
    print_versions(results)
    if arguments.out:
        facts = {"machine": machine(), "contenders": results}
        Path(arguments.out).write_text(json.dumps(facts, indent=1) + "\n")


def rows(result):
    """A configuration's cells, a row for each batch that ran."""
    rounds = result.get("rounds", [])
    for batch in rounds[0] if rounds else ():
        ran = [r[batch] for r in rounds if batch in r]
        speeds = [int(batch) / statistics.median(r["seconds"]) for r in ran]
        yield (
            batch,
            f"{statistics.median(speeds):.1f}",
            f"{min(speeds):.1f} to {max(speeds):.1f}",
            f"{max(r['mib'] for r in ran):.0f}",
        )


if __name__ == "__main__":
    main()
