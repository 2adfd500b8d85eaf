"""Mask R-CNN's time and memory beside mmdet's on this CPU, in one run.

    python benchmarks/detection.py [--torch-python PATH] [--rounds 5]

Mask R-CNN on GC ViT tiny at 800 x 1216, one image, float32, random weights:
inference to 100 detections with their masks of 28 x 28, and a training step
with AdamW on ten objects. mmdet's and torchvision's are built around timm's
backbone with windows of 24, maps padded to whole windows, and have the numbers
of proposals and samples of this library's; the Python at PATH (default: this
one) has torch, torchvision, timm and what `install_mmdet.py` installs. Each is
a process of its own, idle while another is measured; in training one of its own
in each round, since all together do not fit into 24 GiB. Prints medians,
spreads, ratios by round, and the most memory over that of the imported
libraries.
"""

import argparse
import sys
from pathlib import Path

from contenders import Contender, machine, measure, print_versions, spread

WORKER = Path(__file__).with_name("detection_worker.py")
TITLES = ("gcvit-keras", "mmdet", "torchvision")


def main():
    """Prints inference, then training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--peers", nargs="+", default=TITLES[1:])
    parser.add_argument("--modes", nargs="+", default=["inference", "training"])
    arguments = parser.parse_args()
    titles = (TITLES[0], *arguments.peers)
    print(machine())
    for mode in arguments.modes:

        def start(title, mode=mode):
            python = None if title == TITLES[0] else arguments.torch_python
            sides = (arguments.height, arguments.width)
            return Contender(WORKER, python, None, (title, mode, *sides))

        if mode == "inference":
            results = measure(titles, start, arguments.rounds)
        else:
            results = {title: {"rounds": []} for title in titles}
            for _ in range(arguments.rounds):
                for title, result in results.items():
                    found = measure([title], start, 2)[title]
                    rounds = result["rounds"] + found.pop("rounds", [])[1:]
                    result |= {**found, "rounds": rounds}
        print(f"\n{mode} at {arguments.height} x {arguments.width}")
        print_versions(results)
        times = {}
        for title, result in results.items():
            if "failed" in result:
                print(f"{title} failed: {result['failed']}")
                continue
            times[title] = [r["ms"] for r in result["rounds"]]
            last = result["rounds"][-1]
            print(
                f"{title}: {spread(times[title])} ms, "
                f"{last['over_mib']:.0f} MiB over the libraries, "
                f"{'loss' if mode == 'training' else 'detections'} "
                f"{last['found']:.4g}"
            )
        own = times.pop(TITLES[0], ())
        for title, theirs in times.items():
            ratios = [a / b for a, b in zip(own, theirs, strict=False)]
            print(f"ratio to {title}: {spread(ratios, 2)}")


if __name__ == "__main__":
    main()
