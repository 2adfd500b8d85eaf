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
from functools import partial
from pathlib import Path

from contenders import Contender, machine, measure, print_versions

from gcvit_keras.variants import VARIANTS

WORKER = Path(__file__).with_name("variants_worker.py")


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

        def start(kind, name):
            options = (kind, name, folder, arguments.calls)
            return Contender(WORKER, None, None, options)

        for name in names:
            command = [sys.executable, WORKER, "write", name, folder, "0"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        rounds = arguments.rounds
        files = measure(names, partial(start, "file"), rounds)
        graphs = measure(names, partial(start, "graph"), rounds)
        steps = {}
        for name in names:
            steps |= measure([name], partial(start, "step"), rounds)
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
