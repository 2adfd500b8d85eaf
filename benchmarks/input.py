"""Images per second of the ImageNet input pipeline, on one core.

    python benchmarks/input.py [--images 400] [--out input.json]

Writes JPEGs of 500 x 375 pixels (smooth and fine noise), and reads them with
the recipe `imagenet` at 224 x 224, one stage more at a time: what a stage adds
is its share. Beside it the same recipe from the layers of Keras and of
keras-cv, and training steps of GC ViT tiny in float32, as `gcvit train` does
them. Each is a process of its own on the same one core, idle while another is
measured; their rounds are interleaved. Prints Markdown tables of the fastest
rounds.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from contenders import Contender, install, machine, measure, print_versions
from input_worker import CONTENDERS
from PIL import Image

WORKER = Path(__file__).with_name("input_worker.py")
KERAS_CV_PACKAGES = ("keras-cv==0.9.0", "keras-core==0.1.7", "regex")


def write_images(folder, count):
    """Writes `count` JPEGs in ten class folders of `folder/train`."""
    generator = np.random.default_rng(0)
    for i in range(count):
        # Coarse and fine noise, so that a file is as large as a photo's.
        coarse = Image.fromarray(
            generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        ).resize((500, 375), Image.Resampling.BICUBIC)
        fine = generator.normal(0, 14, (375, 500, 1))
        pixels = np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8)
        path = Path(folder, "train", str(i % 10), f"{i}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=92)
    sizes = [p.stat().st_size for p in Path(folder).rglob("*.jpg")]
    return sum(sizes) / len(sizes)


def measure_images(arguments):
    """Seconds an image by stage, by contender, and the mean file's bytes."""

    def start(title):
        path = None
        if title == "keras-cv's layers":
            path = str(Path(folder, "packages"))
            install(path, *KERAS_CV_PACKAGES)
        return Contender(
            WORKER,
            None,
            path,
            (title, folder, arguments.images, arguments.batch, core()),
        )

    with tempfile.TemporaryDirectory() as folder:
        size = write_images(folder, arguments.images)
        results = measure(CONTENDERS, start, arguments.rounds)
    for result in results.values():
        if "failed" not in result:
            rounds = result["rounds"]
            result["fastest"] = {
                k: min(r[k] for r in rounds) for k in rounds[0]
            }
    return results, size


def core():
    """The core that all are measured on."""
    return max(os.sched_getaffinity(0))


def print_tables(results):
    """Prints the stages, then the contenders."""
    ours = results["gcvit-keras"]
    if "failed" not in ours:
        whole = list(ours["fastest"].values())[-1]
        print("| stage, and those above | images/s | share |\n|---|---|---|")
        before = 0
        for name, seconds in ours["fastest"].items():
            share = (seconds - before) / whole
            print(f"| {name} | {1 / seconds:.0f} | {share:.0%} |")
            before = seconds
        print()
    print("| | images/s | ours / this |\n|---|---|---|")
    for title, result in results.items():
        if "failed" in result:
            print(f"| {title} | - | - |")
            continue
        seconds = list(result["fastest"].values())[-1]
        ratio = f"{seconds / whole:.1f}" if "failed" not in ours else "-"
        print(f"| {title} | {1 / seconds:.1f} | {ratio} |")
    print()
    print_versions(results)


def main():
    """Prints the tables; writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file to write")
    arguments = parser.parse_args()
    results, size = measure_images(arguments)
    facts = machine() | {
        "images": arguments.images,
        "batch": arguments.batch,
        "mean_bytes": size,
    }
    print(
        f"One core of {facts['cpu']}, {facts['date']}, {arguments.images} "
        f"JPEGs of 500 x 375, {size / 1000:.0f} kB each\n"
    )
    print_tables(results)
    if arguments.out:
        Path(arguments.out).write_text(
            json.dumps({**facts, "contenders": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
