"""RoIAlign's time beside torchvision's on this CPU, in one run.

    python benchmarks/roi_align.py [--threads 1] [--rounds 7]

The pyramid of an image of 800 x 1216 with 256 channels; 1000 boxes of all
sizes to 7 x 7 and 100 to 14 x 14, forward, and with the gradient of the maps.
Both take turns, round by round, each in a process of its own, since TensorFlow
and PyTorch's CUDA build crash in one; medians and the spread of process time in
milliseconds, and the largest difference of the results. torchvision's maps are
NCHW and its boxes sorted by level beforehand, outside of the measurement.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import statistics
import time

import numpy as np

HEIGHT, WIDTH, CHANNELS = 800, 1216, 256
STRIDES = (4, 8, 16, 32)


def main():
    """Prints one line per size and direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(arguments.threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for count, size in ((1000, 7), (100, 14)):
        measure(count, size, arguments)


def measure(count, size, arguments):
    """Prints the times for so many boxes to so many bins."""
    rng = np.random.default_rng(0)
    maps = [
        rng.normal(size=(1, HEIGHT // s, WIDTH // s, CHANNELS)).astype("f4")
        for s in STRIDES
    ]
    boxes = random_boxes(rng, count)
    shape = (count, size, size, CHANNELS)
    weight = rng.normal(size=shape).astype("float32")
    inputs = (maps, boxes, size, weight)
    contenders = {
        name: concurrent.futures.ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), prepare, (make, made_of)
        )
        for name, make, made_of in (
            ("ours", ours, inputs),
            ("torchvision", theirs, (*inputs, arguments.threads)),
        )
    }
    for gradient in (False, True):
        times = {name: [] for name in contenders}
        for _ in range(arguments.rounds + 1):
            results = {}
            for name, process in contenders.items():
                results[name], spent = process.submit(timed, gradient).result()
                times[name].append(1000 * spent)
        # The first round traces and allocates.
        times = {name: sorted(t[1:]) for name, t in times.items()}
        medians = {name: statistics.median(t) for name, t in times.items()}
        what = "forward and gradient" if gradient else "forward"
        print(f"{count} boxes to {size} x {size}, {what}:")
        for name, median in medians.items():
            spread = f"{times[name][0]:.0f} to {times[name][-1]:.0f}"
            print(f"  {name}: {median:.0f} ms ({spread})")
        difference = np.abs(results["ours"] - results["torchvision"]).max()
        ratio = medians["ours"] / medians["torchvision"]
        print(f"  ratio {ratio:.2f}, largest difference {difference:.1e}")

    for process in contenders.values():
        process.shutdown()


def prepare(make, inputs):
    """Makes the function that this process runs."""
    global _run
    _run = make(*inputs)


def timed(gradient):
    """Its result, and the seconds of process time that it takes."""
    start = time.process_time()
    result = _run(gradient)
    return result, time.process_time() - start


def random_boxes(rng, count):
    """Makes boxes `(count, 4)` of 16 to 600 pixels, within the image."""
    side = np.exp(rng.uniform(np.log(16), np.log(600), count))
    stretch = 2 ** rng.normal(0, 0.6, count)
    half = np.stack([side * stretch, side / stretch], axis=1) / 2
    centre = rng.uniform(0, [WIDTH, HEIGHT], (count, 2))
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype("float32")


def ours(maps, boxes, size, weight):
    """Makes the function that runs this library's, in a graph."""
    import tensorflow as tf

    from gcvit_keras.detection.roi_align import pyramid_roi_align

    maps, boxes = [tf.constant(m) for m in maps], tf.constant(boxes[None])

    @tf.function(autograph=False)
    def forward():
        return pyramid_roi_align(maps, boxes, size)

    @tf.function(autograph=False)
    def with_gradient():
        with tf.GradientTape() as tape:
            tape.watch(maps)
            bins = pyramid_roi_align(maps, boxes, size)
            total = tf.reduce_sum(bins * weight)
        return bins, tape.gradient(total, maps)

    def run(gradient):
        bins = with_gradient()[0] if gradient else forward()
        return bins.numpy()[0]

    return run


def theirs(maps, boxes, size, weight, threads):
    """Makes the function that runs torchvision's, level by level."""
    import torch
    from torchvision.ops import roi_align

    torch.set_num_threads(threads)
    side = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    level = np.clip(np.floor(np.log2(side / 56 + 1e-6)), 0, 3)
    here = [np.flatnonzero(level == i) for i in range(4)]
    boxes = [torch.tensor(boxes[i]) for i in here]
    weight = [torch.tensor(weight[i].transpose(0, 3, 1, 2)) for i in here]
    maps = [
        torch.tensor(m.transpose(0, 3, 1, 2).copy(), requires_grad=True)
        for m in maps
    ]

    def run(gradient):
        with torch.set_grad_enabled(gradient):
            bins = [
                roi_align(m, [b], size, 1 / s, aligned=True)
                for m, b, s in zip(maps, boxes, STRIDES, strict=True)
            ]
            if gradient:
                for m in maps:
                    m.grad = None
                products = zip(bins, weight, strict=True)
                sum((b * w).sum() for b, w in products).backward()
        result = np.concatenate([b.detach().numpy() for b in bins])
        order = np.argsort(np.concatenate(here))
        return result[order].transpose(0, 2, 3, 1)

    return run


if __name__ == "__main__":
    main()
