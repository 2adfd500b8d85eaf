"""A second task: images are compressed, and drawn again.

It trains in a second: for tests of the engine, which is the same for all.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gcvit_training import Evaluator, RunConfig, Task, read_config, tasks


def stripes(*overrides):
    """A run of four steps per epoch."""
    return read_config(Path(__file__).with_name("autoencoder.yaml"), overrides)


class AutoencoderConfig(RunConfig):
    width: int = 6
    unreadable: int = 0
    """The first images, so many, cannot be read."""


class Images:
    """48 images of stripes; the test split is the last 16."""

    splits = {"train": (0, 32), "test": (32, 48)}

    def __init__(self, unreadable):
        self.unreadable = unreadable

    def size(self, split):
        first, end = self.splits[split]
        return end - first

    def examples(self, split, seed=None, buffer=1, shard=(1, 0)):
        numbers = tf.data.Dataset.range(*self.splits[split])
        if seed is not None:
            numbers = numbers.shuffle(48, seed, reshuffle_each_iteration=False)
        return numbers.shard(*shard).map(
            lambda i: {"name": tf.strings.as_string(i), "number": i}
        )

    def load(self, example):
        readable = tf.debugging.assert_greater_equal(
            example["number"], tf.constant(self.unreadable, tf.int64)
        )
        with tf.control_dependencies([readable]):
            return tf.cast(example["number"], tf.float32)


class Error(Evaluator):
    def __init__(self):
        self.errors = []

    def update(self, outputs, targets, weights):
        errors = np.mean((outputs - targets["image"]) ** 2, axis=(1, 2, 3))
        self.errors += list(errors[weights > 0])

    def result(self):
        return {
            "images": len(self.errors),
            "error": float(np.mean(self.errors)),
        }


class Autoencoder(Task):
    Config = AutoencoderConfig
    loss_names = ("pixels", "codes")

    @classmethod
    def open_source(cls, config, data_dir=None):
        return Images(config.unreadable)

    def example(self, content, seed=None):
        columns = tf.range(16, dtype=tf.float32)[None, :, None]
        image = tf.tile(tf.sin(content + columns / 3), (16, 1, 1))
        target = {"image": image, "number": content}
        if seed is not None:
            image += 0.1 * tf.random.stateless_normal((16, 16, 1), seed)
        return {"images": image}, target

    def network(self):
        images = keras.Input((16, 16, 1), name="images")
        x = keras.layers.Flatten()(images)
        x = keras.layers.Dropout(0.1)(x)  # whose seed is the step's
        codes = keras.layers.Dense(self.config.width, "tanh", name="codes")(x)
        x = keras.layers.Dense(256, name="pixels")(codes)
        drawn = keras.layers.Reshape((16, 16, 1))(x)
        return keras.Model({"images": images}, drawn, name="autoencoder")

    def losses(self, network, inputs, targets, training):
        drawn = tf.cast(network(inputs, training=training), tf.float32)
        errors = tf.reduce_mean((drawn - targets["image"]) ** 2, (1, 2, 3))
        kernel = tf.reduce_mean(tf.abs(network.get_layer("codes").kernel))
        return {
            "pixels": errors,
            "codes": tf.zeros_like(errors) + 1e-3 * kernel,
        }

    def evaluator(self):
        return Error()


TASK = Autoencoder
tasks.TASKS["autoencoder"] = __name__
