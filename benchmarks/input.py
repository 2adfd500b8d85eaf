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
import sys
import tempfile
from pathlib import Path

import numpy as np
import train
from contenders import Contender, install, machine, measure, print_versions
from PIL import Image

COMMON = """
import os, sys, time
folder, count, batch, core = sys.argv[1], *map(int, sys.argv[2:])
os.sched_setaffinity(0, {core})
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, tensorflow as tf
def pass_over(batches):
    start = time.perf_counter()
    seen = 0
    for images, labels in batches.take(count // batch):
        seen += len(images)
    return (time.perf_counter() - start) / seen
"""

# Each stage of ours on top of those before it.
OURS = """
from gcvit_training import read_config
from gcvit_training.data import training_batches
from gcvit_training.tasks.classification.sources import open_source
from gcvit_training.tasks.classification import Classification
RESIZED = {
    "flip": 0.0, "rand_augment_layers": 0, "erasing": 0.0, "mixup": 0.0,
    "cutmix": 0.0,
}
STAGES = {
    "decode the crop, resize": RESIZED,
    "flip": {"flip": 0.5},
    "RandAugment": {"rand_augment_layers": 2},
    "random erasing": {"erasing": 0.25},
    "mixup, CutMix": {"mixup": 0.8, "cutmix": 1.0},
}
changes, pipelines = {}, {}
for name, stage in STAGES.items():
    changes |= stage
    config = read_config("imagenet", [
        f"data.dataset={folder}", f"data.batch_size={batch}",
        *(f"augment.{field}={value}" for field, value in changes.items()),
    ])
    source = open_source(folder)
    if not pipelines:
        files = source.examples("train", 0, 1000).map(lambda e: source.load(e))
        pipelines["read"] = files.batch(batch).repeat()
    pipelines[name] = training_batches(Classification(config, source))
def run():
    return {name: pass_over(p) for name, p in pipelines.items()}
run()
serve(run, "keras", "tensorflow", "gcvit-keras")
"""

# What is not of the contender: files, labels and the random box.
PEER = """
import pathlib
files = sorted(map(str, pathlib.Path(folder, "train").rglob("*.jpg")))
labels = [int(pathlib.Path(f).parent.name) for f in files]
def read(name, label):
    return tf.io.read_file(name), tf.one_hot(label, 1000)
def crop(encoded):
    box = tf.image.sample_distorted_bounding_box(
        tf.io.extract_jpeg_shape(encoded), tf.zeros((1, 0, 4)),
        area_range=(0.08, 1.0), aspect_ratio_range=(0.75, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    (top, left, _), (height, width, _) = map(tf.unstack, box[:2])
    image = tf.io.decode_and_crop_jpeg(
        encoded, tf.stack((top, left, height, width)), channels=3
    )
    image = tf.image.resize(image, (224, 224), "bicubic", antialias=True)
    return tf.clip_by_value(image, 0, 255)
def batches(augment, mix):
    data = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(1000)
    data = data.repeat().map(read, tf.data.AUTOTUNE).map(
        lambda encoded, label: (augment(crop(encoded)), label),
        tf.data.AUTOTUNE,
    )
    return data.batch(batch).map(mix, tf.data.AUTOTUNE).prefetch(2)
"""

# After the contender's layers: `augment`, `mixup` and `cutmix`.
PEER_RUN = """
def mix(images, labels):
    both = {"images": images, "labels": labels}
    mixed = tf.cond(
        tf.random.uniform(()) < 0.5,
        lambda: mixup(both, training=True), lambda: cutmix(both, training=True),
    )
    return mixed["images"], mixed["labels"]
pipeline = batches(augment, mix)
def run():
    return {"all": pass_over(pipeline)}
run()
"""

KERAS = """
layers = [
    keras.layers.RandomFlip("horizontal"),
    keras.layers.RandAugment((0, 255), num_ops=2, factor=0.9),
    keras.layers.RandomErasing(0.25, value_range=(0, 255)),
]
mixup, cutmix = keras.layers.MixUp(0.8), keras.layers.CutMix(1.0)
def augment(image):
    for layer in layers:
        image = layer(image[None], training=True)[0]
    return image
"""

KERAS_CV = """
import keras_cv
flip = keras_cv.layers.RandomFlip("horizontal")
rand_augment = keras_cv.layers.RandAugment(
    (0, 255), augmentations_per_image=2, magnitude=0.9, magnitude_stddev=0.05
)
erase = keras_cv.layers.RandomCutout(
    (0.02, 0.58), (0.02, 0.58), "gaussian_noise"
)
mixup, cutmix = keras_cv.layers.MixUp(0.8), keras_cv.layers.CutMix(1.0)
def augment(image):
    image = rand_augment(flip(image, training=True), training=True)
    return tf.cond(
        tf.random.uniform(()) < 0.25, lambda: erase(image, training=True),
        lambda: image,
    )
"""

# A batch of eight, three steps a round.
STEP = (
    "sys.argv[1:] = ['8', '3']\nrecompute = False\n"
    + train.BATCH
    + train.OURS
    + train.FIT
    + """
serve(
    lambda: {"all": min(run()) / batch}, "keras", "tensorflow", "gcvit-keras"
)
"""
)

CONTENDERS = {
    "gcvit-keras": OURS,
    "Keras's layers": (
        PEER + KERAS + PEER_RUN + 'serve(run, "keras", "tensorflow")'
    ),
    "keras-cv's layers": (
        PEER
        + KERAS_CV
        + PEER_RUN
        + 'serve(run, "keras", "keras-cv", "tensorflow")'
    ),
    "training step of tiny": STEP,
}
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
            COMMON + CONTENDERS[title],
            sys.executable,
            path,
            (folder, arguments.images, arguments.batch, core()),
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
