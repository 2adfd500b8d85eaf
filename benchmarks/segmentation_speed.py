"""UPerNet's time beside mmsegmentation's on this CPU, in one run.

    python benchmarks/segmentation_speed.py [--torch-python PATH] [--side 512]
        [--rounds 7]

GC ViT tiny with UPerHead (512 channels, 150 classes), one image, float32,
random weights, to logits at a quarter of the image's size. mmsegmentation's own
UPerHead is put on what timm's stages give; both windows are those that timm
scales to the image. The Python at PATH (default: this one) has torch, timm and
what `install_mmdet.py` installs. Each is a process of its own; both take turns:
medians and spreads in milliseconds, and of the ratios by round.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from contenders import Contender, machine, measure, print_versions, spread
from worker import serve

CLASSES, CHANNELS = 150, 512
TITLES = ("gcvit-keras", "mmsegmentation")


def ours(image):
    """Makes the function that runs this library's, in a graph."""
    import tensorflow as tf

    from gcvit_keras.segmentation import UPerNet

    model = UPerNet(
        "tiny",
        CLASSES,
        channels=CHANNELS,
        auxiliary=False,
        backbone_weights=None,
    )
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    images = tf.constant(image)
    return lambda: function(images).numpy(), ("keras", "tensorflow")


def theirs(image):
    """Makes the function that runs mmsegmentation's head on timm's stages."""
    import timm
    import torch
    from mmseg.models import UPerHead

    backbone = timm.create_model("gcvit_tiny", img_size=image.shape[1]).eval()
    head = UPerHead(
        in_channels=[stage.dim for stage in backbone.stages],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=CHANNELS,
        num_classes=CLASSES,
        norm_cfg={"type": "BN"},
        align_corners=False,
    ).eval()
    images = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())

    def run():
        with torch.inference_mode():
            x, maps = backbone.stem(images / 255), []
            for stage in backbone.stages:
                x = stage(x)
                maps.append(x)
            return head(maps).numpy()

    return run, ("torch", "timm", "mmsegmentation")


def contend(title, side):
    """Serves rounds of one contender: milliseconds and the logits' shape."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    image = np.random.default_rng(0).random((1, side, side, 3), "float32") * 255
    call, packages = (ours if title == TITLES[0] else theirs)(image)
    call()  # the first one traces and allocates

    def run():
        start = time.perf_counter()
        logits = call()
        milliseconds = 1000 * (time.perf_counter() - start)
        return {"ms": milliseconds, "shape": logits.shape}

    serve(run, *packages)


def main():
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contender", choices=TITLES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        return contend(arguments.contender, arguments.side)

    def start(title):
        python = None if title == TITLES[0] else arguments.torch_python
        options = ("--contender", title, "--side", arguments.side)
        return Contender(Path(__file__), python, None, options)

    results = measure(TITLES, start, arguments.rounds)
    print(machine())
    print_versions(results)
    times = {}
    for title, result in results.items():
        if "failed" in result:
            sys.exit(f"{title} failed: {result['failed']}")
        times[title] = [r["ms"] for r in result["rounds"]]
        print(f"{title}: {spread(times[title])} ms, {result['rounds'][0]}")
    ratios = [a / b for a, b in zip(*times.values(), strict=True)]
    print(f"ratio {spread(ratios, 2)}")


if __name__ == "__main__":
    main()
