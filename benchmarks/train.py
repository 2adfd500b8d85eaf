"""Time and memory of a training step of GC ViT tiny, beside its peers'.

    python benchmarks/train.py [--torch-python PATH] [--out train.json]

A step is forward, backward, clipping to the global norm 5 and AdamW, on one
random batch at 224 x 224 and 1000 classes: float32, drop path 0.2, label
smoothing 0.1. This library is trained as `gcvit train` does, gcvit by Keras's
`model.fit` without XLA, both with oneDNN; timm by eager PyTorch, run by the
Python at PATH (default: this one). Each is a process of its own, idle while
another is measured; their rounds are interleaved. This library is measured a
second time with the blocks' activations recomputed (`model.recompute`). Prints
a Markdown table; a step's median is over all rounds, the fastest round is the
one of the smallest median.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from alternatives import MATPLOTLIB
from contenders import Contender, install, machine, measure, print_versions
from train_worker import CONTENDERS

WORKER = Path(__file__).with_name("train_worker.py")


def measure_steps(arguments):
    """Results by contender; of one that did not run, why."""

    def start(title):
        path = None
        if title == "gcvit":
            path = packages
            install(path, "gcvit==1.1.6", *MATPLOTLIB.split())
        python = arguments.torch_python if title == "timm" else sys.executable
        return Contender(
            WORKER, python, path, (title, arguments.batch, arguments.steps)
        )

    with tempfile.TemporaryDirectory() as packages:
        results = measure(CONTENDERS, start, arguments.rounds)
    for result in results.values():
        if "failed" not in result:
            rounds = result["rounds"]
            result["median"] = statistics.median(sum(rounds, []))
            result["fastest_round"] = min(map(statistics.median, rounds))
    return results


def print_table(results):
    """Prints the table, and under it the versions and what failed."""
    print(
        "| | step, s | fastest round, s | all steps, s | peak, MiB "
        "| ours / this, median | ours / this, fastest |"
    )
    print("|---" * 7 + "|")
    ours = results["gcvit-keras"]
    for title, result in results.items():
        if "failed" in result:
            print(f"| {title} |" + " - |" * 6)
            continue
        steps = sum(result["rounds"], [])
        ratios = [
            f"{ours[key] / result[key]:.2f}" if key in ours else "-"
            for key in ("median", "fastest_round")
        ]
        print(
            f"| {title} | {result['median']:.2f} "
            f"| {result['fastest_round']:.2f} "
            f"| {min(steps):.2f} to {max(steps):.2f} "
            f"| {result['peak_mib']:.0f} | {' | '.join(ratios)} |"
        )
    print()
    print_versions(results)


def main():
    """Prints the table; writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python that has PyTorch and timm",
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file to write")
    arguments = parser.parse_args()
    facts = machine() | {"batch": arguments.batch, "steps": arguments.steps}
    results = measure_steps(arguments)
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, "
        f"batches of {arguments.batch}, {arguments.rounds} rounds of "
        f"{arguments.steps} steps\n"
    )
    print_table(results)
    if arguments.out:
        Path(arguments.out).write_text(
            json.dumps({**facts, "contenders": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
