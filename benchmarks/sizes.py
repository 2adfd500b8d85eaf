"""Time per image by its size, over that of 224 x 224, in one process.

    python benchmarks/sizes.py [--variant tiny] [--rounds 3]

A map that does not divide into windows is padded to whole ones, so time jumps
where a side grows beyond a multiple: of 224 with windows 7, 7, 14, 7. By
default windows scale with a side that 32 divides, and none is padded.
"""

import argparse
import os
import statistics
import time

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

import gcvit_keras
from gcvit_keras import VARIANTS

SIDES = (192, 224, 225, 256, 288, 320, 384, 448, 449, 512, 640, 768, 896, 1024)
PAPER = (7, 7, 14, 7)
"""Windows of the published models at 224 x 224."""


def timed(variant, side, windows):
    """Makes a function that returns the seconds of one image."""
    facts = VARIANTS[variant]
    model = gcvit_keras.GCViT(
        embed_dim=facts.embed_dim,
        depths=facts.depths,
        num_heads=facts.num_heads,
        mlp_ratio=facts.mlp_ratio,
        layer_scale=facts.layer_scale,
        input_shape=(side, side, 3),
        window_size=windows,
    )
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    image = tf.constant(np.random.default_rng(0).random((1, side, side, 3)))
    image = 255 * tf.cast(image, tf.float32)
    for _ in range(3):
        function(image)

    def run():
        start = time.perf_counter()
        function(image).numpy()
        return time.perf_counter() - start

    return run


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variant", default="tiny", choices=sorted(VARIANTS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{arguments.variant}, batch 1, float32, Keras {keras.__version__}, "
        f"TensorFlow {tf.__version__}, {os.cpu_count()} cores\n"
    )
    print("| side | windows 7, 7, 14, 7 | per pixel | scaled | per pixel |")
    print("|---|---|---|---|---|")
    base = {w: timed(arguments.variant, 224, w) for w in (PAPER, None)}
    for side in SIDES:
        cells = []
        for windows in (PAPER, None):
            run, ratios = timed(arguments.variant, side, windows), []
            for _ in range(arguments.rounds):  # both in turn
                ratios.append(run() / base[windows]())
            median = statistics.median(ratios)
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            cells += [
                f"{median:.2f} ({spread})",
                f"{median * (224 / side) ** 2:.2f}",
            ]
        print(f"| {side} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
