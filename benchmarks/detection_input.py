"""Images per second of the detectors' input pipeline, on one core.

    python benchmarks/detection_input.py COCO [--rounds 3]

COCO is a folder with COCO's layout, whose training images are read with the
recipe `mask_rcnn`. Seconds per image of: the files and the plans of what is
done to them, read in place; the same bytes from one TFRecord file, which is
all that TFRecords could make faster; the whole pipeline, to padded batches with
boxes and masks; a training step of Mask R-CNN tiny on one image of 800 x 1216.
Each is a process of its own on the same one core, idle while another is
measured. Prints medians and spreads.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from contenders import Contender, machine, measure, print_versions, spread
from worker import serve

TITLES = ("read in place", "read from TFRecords", "whole pipeline")
STEP = "training step"
BATCH = 2


def contend(title, coco):
    """Serves rounds of one contender: seconds per image."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from gcvit_training import read_config
    from gcvit_training.data import training_batches
    from gcvit_training.tasks.detection import Detection

    config = read_config(
        "mask_rcnn", [f"data.dataset={coco}", f"data.batch_size={BATCH}"]
    )
    source = Detection.open_source(config)
    split = config.data.train_split
    count = source.size(split) // BATCH * BATCH
    seed = tf.constant(0)
    files = source.examples(split, seed).map(source.load)
    if title == "whole pipeline":
        data = training_batches(Detection(config, source))
    elif title == "read in place":
        data = files.repeat().batch(BATCH)
    else:
        file = Path(tempfile.mkdtemp(), "images.tfrecord")
        with tf.io.TFRecordWriter(str(file)) as writer:
            for content in files:
                writer.write(content["encoded"].numpy())
        data = tf.data.TFRecordDataset(str(file)).repeat().batch(BATCH)
    batches = iter(data)
    next(batches)

    def run():
        start = time.perf_counter()
        for _ in range(count // BATCH):
            next(batches)
        return {"seconds": (time.perf_counter() - start) / count}

    serve(run, "keras", "tensorflow", "gcvit-keras")


def main():
    """Prints a line per contender, and what the ratios say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("coco", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", choices=TITLES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        return contend(arguments.contender, arguments.coco)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def start(title):
        if title == STEP:
            worker = Path(__file__).with_name("detection_worker.py")
            options = ("gcvit-keras", "training", 800, 1216)
            return Contender(worker, None, None, options)
        options = (arguments.coco, "--contender", title)
        return Contender(Path(__file__), None, None, options)

    results = measure((*TITLES, STEP), start, arguments.rounds)
    print(machine())
    print_versions(results)
    seconds = {}
    for title, result in results.items():
        if "failed" in result:
            print(f"{title} failed: {result['failed']}")
            continue
        seconds[title] = [
            r["seconds"] if "seconds" in r else r["ms"] / 1000
            for r in result["rounds"]
        ]
        print(f"{title}: {spread(seconds[title], 4)} seconds per image")
    medians = {title: np.median(values) for title, values in seconds.items()}
    in_place, records, whole = (medians[title] for title in TITLES)
    print(f"TFRecords could save {(in_place - records) / whole:.1%}")
    if STEP in medians:
        print(f"training step / pipeline: {medians[STEP] / whole:.1f}")


if __name__ == "__main__":
    main()
