"""Where the time of GC ViT tiny goes, by operation.

    python benchmarks/operations.py [WHAT] [--batch 1]

WHAT is `saved`, the exported SavedModel (the default); `function`, the Keras
model in `tf.function`; `bfloat16`, a SavedModel that computes in it, as
`inference.py` exports it; or the LiteRT file, which takes one image: `litert`
in float32, `dynamic` with int8 weights, `int8`. Of the graph as TensorFlow or
XNNPACK runs it, with the threads of all cores and with one, each in a process
of its own, rounds interleaved. Prints the median of whole calls, and a Markdown
table of what the operations take while they are traced, summed over the
operations of a kind: with several threads some of TensorFlow's run side by
side, and tracing itself takes time, so the sum is not that of a call.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from contenders import Contender, machine, measure, print_versions
from inference import export

HERE = Path(__file__).parent
LITERT = {"litert": "float32", "dynamic": "dynamic", "int8": "int8"}


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("saved", "function", "bfloat16", *LITERT),
        default="saved",
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    what = arguments.what
    if what in LITERT and arguments.batch != 1:
        parser.error(f"{what} takes one image, not --batch {arguments.batch}")
    kind = LITERT.get(what, what)
    facts = machine()
    threads = {f"{n} threads": n for n in sorted({facts["cores"], 1})}
    with tempfile.TemporaryDirectory() as folder:
        export(sys.executable, folder, kind)
        results = measure(
            threads,
            lambda title: Contender(
                HERE / "operations_worker.py",
                None,
                None,
                (kind, folder, arguments.batch, threads[title]),
            ),
            arguments.rounds,
        )
    print(
        f"{facts}, {what}, batch {arguments.batch}, {arguments.rounds} rounds\n"
    )
    kinds = {}
    for title, result in results.items():
        rounds = result.get("rounds", [])
        seconds = sum((r["seconds"] for r in rounds), [])
        if seconds:
            print(f"{title}: {1000 * statistics.median(seconds):.1f} ms a call")
        for kind, count in (rounds[0]["counts"] if rounds else {}).items():
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
