"""A contender of benchmarks/input.py: images of a pipeline, on one core.

python input_worker.py TITLE FOLDER IMAGES BATCH CORE

TITLE is one of `CONTENDERS`, FOLDER has the images. A round's result is the
seconds per image; of this library by stage, each on top of those before it.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path

from worker import serve

# Each makes, of FOLDER and BATCH, pipelines by name.

RESIZED = {
    "flip": 0.0,
    "rand_augment_layers": 0,
    "erasing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
}
STAGES = {
    "decode the crop, resize": RESIZED,
    "flip": {"flip": 0.5},
    "RandAugment": {"rand_augment_layers": 2},
    "random erasing": {"erasing": 0.25},
    "mixup, CutMix": {"mixup": 0.8, "cutmix": 1.0},
}


def ours(folder, batch):
    """Reads as this library's recipe `imagenet` does."""
    from gcvit_training import read_config
    from gcvit_training.data import training_batches
    from gcvit_training.tasks.classification import Classification
    from gcvit_training.tasks.classification.sources import open_source

    source = open_source(folder)
    files = source.examples("train", 0, 1000).map(lambda e: source.load(e))
    pipelines = {"read": files.batch(batch).repeat()}
    changes = {}
    for name, stage in STAGES.items():
        changes |= stage
        config = read_config(
            "imagenet",
            [
                f"data.dataset={folder}",
                f"data.batch_size={batch}",
                *(f"augment.{k}={value}" for k, value in changes.items()),
            ],
        )
        pipelines[name] = training_batches(Classification(config, source))
    return pipelines


def peer(layers, folder, batch):
    """Reads with a peer's layers: files, labels and the random box are ours."""
    import tensorflow as tf

    augment, mixup, cutmix = layers()
    files = sorted(map(str, Path(folder, "train").rglob("*.jpg")))
    labels = [int(Path(file).parent.name) for file in files]

    def read(name, label):
        return tf.io.read_file(name), tf.one_hot(label, 1000)

    def crop(encoded):
        box = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(encoded),
            tf.zeros((1, 0, 4)),
            area_range=(0.08, 1.0),
            aspect_ratio_range=(0.75, 4 / 3),
            use_image_if_no_bounding_boxes=True,
        )
        (top, left, _), (height, width, _) = map(tf.unstack, box[:2])
        image = tf.io.decode_and_crop_jpeg(
            encoded, tf.stack((top, left, height, width)), channels=3
        )
        image = tf.image.resize(image, (224, 224), "bicubic", antialias=True)
        return tf.clip_by_value(image, 0, 255)

    def mix(images, labels):
        both = {"images": images, "labels": labels}
        mixed = tf.cond(
            tf.random.uniform(()) < 0.5,
            lambda: mixup(both, training=True),
            lambda: cutmix(both, training=True),
        )
        return mixed["images"], mixed["labels"]

    data = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(1000)
    data = data.repeat().map(read, tf.data.AUTOTUNE)
    data = data.map(
        lambda encoded, label: (augment(crop(encoded)), label), tf.data.AUTOTUNE
    )
    data = data.batch(batch).map(mix, tf.data.AUTOTUNE)
    return {"all": data.prefetch(2)}


def keras_layers():
    """Makes Keras's: of an image, and of a batch."""
    import keras

    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandAugment((0, 255), num_ops=2, factor=0.9),
        keras.layers.RandomErasing(0.25, value_range=(0, 255)),
    ]

    def augment(image):
        for layer in layers:
            image = layer(image[None], training=True)[0]
        return image

    return augment, keras.layers.MixUp(0.8), keras.layers.CutMix(1.0)


def keras_cv_layers():
    """Makes keras-cv's: of an image, and of a batch."""
    import keras_cv
    import tensorflow as tf

    flip = keras_cv.layers.RandomFlip("horizontal")
    rand_augment = keras_cv.layers.RandAugment(
        (0, 255),
        augmentations_per_image=2,
        magnitude=0.9,
        magnitude_stddev=0.05,
    )
    erase = keras_cv.layers.RandomCutout(
        (0.02, 0.58), (0.02, 0.58), "gaussian_noise"
    )

    def augment(image):
        image = rand_augment(flip(image, training=True), training=True)
        return tf.cond(
            tf.random.uniform(()) < 0.25,
            lambda: erase(image, training=True),
            lambda: image,
        )

    return augment, keras_cv.layers.MixUp(0.8), keras_cv.layers.CutMix(1.0)


STEP = "training step of tiny"
OURS = ("keras", "tensorflow", "gcvit-keras")
CONTENDERS = {
    "gcvit-keras": (ours, *OURS),
    "Keras's layers": (partial(peer, keras_layers), "keras", "tensorflow"),
    "keras-cv's layers": (
        partial(peer, keras_cv_layers),
        *("keras", "keras-cv", "tensorflow"),
    ),
    STEP: (None, *OURS),
}
"""By title: what makes the pipelines, and the packages whose versions count."""


def main():
    """Serves rounds of a pass over the images, or of training steps."""
    title, folder, *numbers = sys.argv[1:]
    count, batch, core = map(int, numbers)
    os.sched_setaffinity(0, {core})
    os.environ["KERAS_BACKEND"] = "tensorflow"
    make, *packages = CONTENDERS[title]
    if title == STEP:
        from train_worker import warmed_up  # numpy's threads, on the core

        step = warmed_up("gcvit-keras", 8, 3)
        return serve(lambda: {"all": min(step()) / 8}, *packages)
    pipelines = make(folder, batch)

    def pass_over(batches):
        start = time.perf_counter()
        images_seen = 0
        for images, _ in batches.take(count // batch):
            images_seen += len(images)
        return (time.perf_counter() - start) / images_seen

    def run():
        return {name: pass_over(p) for name, p in pipelines.items()}

    run()
    serve(run, *packages)


if __name__ == "__main__":
    main()
