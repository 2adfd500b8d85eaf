"""Where the time of the SavedModel of GC ViT tiny goes, by operation.

    python benchmarks/operations.py [--batch 1] [--bfloat16]

Of the graph as TensorFlow runs it, with the threads of all cores and with one,
each in a process of its own, rounds interleaved. Prints the median of whole
calls, and a Markdown table of what the operations take while they are traced,
summed over the operations of a kind: with several threads some run side by
side, and tracing itself takes time, so the sum is not that of a call.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from contenders import Contender, machine, measure, print_versions
from inference import EXPORT

CODE = """
import collections, sys, time
import numpy as np
import tensorflow as tf
folder, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
kind = sys.argv[4]
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
v1 = tf.compat.v1
session = v1.Session(graph=tf.Graph())
with session.graph.as_default():
    loaded = v1.saved_model.load(session, ["serve"], f"{folder}/{kind}/1")
signature = loaded.signature_def["serving_default"]
fetched = signature.outputs["probabilities"].name
images = np.random.default_rng(0).uniform(0, 255, (batch, 224, 224, 3))
fed = {signature.inputs["images"].name: images.astype("float32")}
def run():
    seconds = []
    for _ in range(11):
        start = time.perf_counter()
        session.run(fetched, fed)
        seconds.append(time.perf_counter() - start)
    counts, spent = collections.Counter(), collections.Counter()
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    for _ in range(5):
        facts = v1.RunMetadata()
        session.run(fetched, fed, options, facts)
        for device in facts.step_stats.dev_stats:
            for node in device.node_stats:
                _, _, said = node.timeline_label.partition(" = ")
                name = said.partition("(")[0] or node.node_name
                counts[name] += 1 / 5
                micros = node.op_end_rel_micros - node.op_start_rel_micros
                spent[name] += micros / 5000
    return {"seconds": seconds[1:], "counts": counts, "spent": spent}
run()
serve(run, "tensorflow", "gcvit-keras")
"""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bfloat16", action="store_true", help="as inference.py exports it"
    )
    arguments = parser.parse_args()
    facts = machine()
    kind = "bfloat16" if arguments.bfloat16 else "saved"
    threads = {f"{n} threads": n for n in sorted({facts["cores"], 1})}
    with tempfile.TemporaryDirectory() as folder:
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
        subprocess.run(
            [sys.executable, "-c", EXPORT, folder], env=environment, check=True
        )
        results = measure(
            threads,
            lambda title: Contender(
                CODE,
                sys.executable,
                None,
                (folder, arguments.batch, threads[title], kind),
            ),
            arguments.rounds,
        )
    print(
        f"{facts}, {kind}, batch {arguments.batch}, {arguments.rounds} rounds\n"
    )
    kinds = {}
    for title, result in results.items():
        rounds = result["rounds"]
        seconds = sum((r["seconds"] for r in rounds), [])
        print(f"{title}: {1000 * statistics.median(seconds):.1f} ms a call")
        for kind, count in rounds[0]["counts"].items():
            spent = [r["spent"].get(kind, 0) for r in rounds]
            row = kinds.setdefault(kind, {"count": count})
            row[title] = statistics.median(spent)
    most = list(threads)[-1]
    order = sorted(kinds, key=lambda kind: -kinds[kind].get(most, 0))
    print(
        "\n| operation | how many |" + "".join(f" {t}, ms |" for t in threads)
    )
    print("|---" * (2 + len(threads)) + "|")
    for kind in order[:12]:
        cells = [f"{kinds[kind].get(title, 0):.1f}" for title in threads]
        count = f"{kinds[kind]['count']:.0f}"
        print(f"| {kind} | {count} | {' | '.join(cells)} |")
    rest = [
        f"{sum(kinds[kind].get(title, 0) for kind in order[12:]):.1f}"
        for title in threads
    ]
    print(f"| all others | | {' | '.join(rest)} |\n")
    print_versions(results)


if __name__ == "__main__":
    main()
