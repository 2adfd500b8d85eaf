"""Classification: images of one class each, or mixed of several."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from gcvit_keras.models import structure
from gcvit_training import data as pipeline
from gcvit_training.tasks.classification.augment import mix
from gcvit_training.tasks.classification.check import check_split
from gcvit_training.tasks.classification.config import (
    ClassificationConfig,
    ImageDataConfig,
    resolve,
)
from gcvit_training.tasks.classification.evaluator import (
    ClassificationEvaluator,
    Evaluation,
    evaluate,
)
from gcvit_training.tasks.classification.examples import training_image
from gcvit_training.tasks.classification.layers import (
    apply_layers,
    load_layers,
)
from gcvit_training.tasks.classification.network import build_network
from gcvit_training.tasks.classification.report import page
from gcvit_training.tasks.classification.sources import (
    check_splits,
    open_source,
)
from gcvit_training.tasks.images import ImageTask
from gcvit_training.tasks.pages import class_table

__all__ = [
    "Classification",
    "ClassificationEvaluator",
    "Evaluation",
    "evaluate",
    "evaluation_batches",
]


class Classification(ImageTask):
    """Images `(height, width, channels)` to probabilities of classes.

    The training loss is the cross-entropy with `label_smoothing`, of images
    that may be mixed. The loss of validation and of the report is the
    cross-entropy of the labels as they are.
    """

    Config = ClassificationConfig
    metric_names = ("accuracy",)
    reads_one_size = True

    @functools.cached_property
    def layers(self):
        """The user's own augmentation."""
        layers = self.config.augment.layers
        return load_layers(layers) if layers else []

    @functools.cached_property
    def class_weights(self):
        """Weight of each class in the training loss, or `None`."""
        if not self.config.class_weights:
            return None
        return _class_weights(self.config, self.source)

    @classmethod
    def resolve(cls, config):
        """Fills in what the preset or the variant sets."""
        return resolve(config)

    @classmethod
    def open_source(cls, config, data_dir=None):
        """Opens TFDS's datasets, TFRecords and class folders."""
        data = config.data
        source = open_source(data.dataset, data_dir, data.holdout)
        check_splits(source, data)
        return source

    def check_replicas(self, batch_size):
        """Refuses odd batches, whose images cannot be mixed in pairs."""
        augment = self.config.augment
        if (augment.mixup or augment.cutmix) and batch_size % 2:
            raise ValueError(
                "`data.batch_size` must give every replica an even number of "
                "images with `augment.mixup` or `augment.cutmix`. Received: "
                f"{batch_size} images per replica"
            )

    def check(self):
        """Refuses weights of classes that the data do not have."""
        _ = self.class_weights

    def example(self, content, seed=None):
        """Reads an image; its target is the number of its class."""
        encoded, label = content
        if seed is None:
            return self.reader.read_in_graph(encoded, trusted=True), label
        image = training_image(encoded, seed, self.config)
        if self.layers:
            image = apply_layers(self.layers, image, tf.random.fold_in(seed, 1))
        return image, label

    def batch(self, inputs, targets, seed=None):
        """Makes labels one-hot, and mixes training images."""
        places = tf.gather(tf.constant(self.places), targets)
        labels = tf.one_hot(places, len(self.names))
        if seed is None:
            return inputs, labels
        augment = self.config.augment
        if augment.mixup or augment.cutmix:
            return mix(inputs, labels, seed, augment.mixup, augment.cutmix)
        return inputs, labels

    def network(self):
        """Builds a GC ViT with a head for the classes."""
        return build_network(self.config, len(self.source.names))

    def frozen(self, network):
        """Trains the head alone."""
        return structure.head(network).trainable_variables

    def losses(self, network, inputs, targets, training):
        """Computes cross-entropy, and watches the accuracy."""
        scores = tf.cast(network(inputs, training=training), tf.float32)
        losses = keras.losses.categorical_crossentropy(
            targets, scores, label_smoothing=self.config.label_smoothing
        )
        if self.class_weights is not None:
            # Of a mixed image the mean of its classes' weights.
            losses *= tf.linalg.matvec(targets, self.class_weights)
        return {
            "loss": losses,
            "accuracy": keras.metrics.categorical_accuracy(targets, scores),
        }

    def check_split(self, source, split, report):
        """Counts the images of every class, and finds what cannot be read."""
        reader = self.config.data.image_reader
        return check_split(source, split, reader, self.tally, report)

    def split_page(self, split, facts):
        """Shows images of every class."""
        return [
            f"**{split}: {facts['images']} images**",
            "",
            *class_table("images", facts["classes"]),
        ]

    def tally(self, targets):
        """Counts the images of every class.

        Args:
            targets: List of targets of examples, of unreadable ones, too.

        Returns:
            Dict of class name to integer.
        """
        counts = np.bincount(np.int64(targets), minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))

    def title(self, target):
        """Names the class of a training image, or the shares of several."""
        parts = [k for k in target.argsort()[::-1] if target[k] > 0]
        if len(parts) == 1:
            return self.names[parts[0]]
        return " + ".join(f"{target[k]:.0%} {self.names[k]}" for k in parts)

    def picture(self, inputs, targets):
        """Gives a training image as it is, and its title."""
        return inputs, self.title(targets)

    @classmethod
    def to_evaluate(cls, config, path, reader, overrides=(), **data):
        """Reads images as the model does, whatever its run said."""
        fields = {
            "image_size": reader.size,
            "channels": reader.channels,
            "crop_ratio": reader.crop_ratio,
            "crop_mode": reader.crop_mode,
            "interpolation": reader.interpolation,
            **data,
        }
        if config is None and overrides:
            raise ValueError(
                "`overrides` must be of a run, a detector or a segmenter. "
                f"Received: {', '.join(overrides)}"
            )
        if config is None:
            return _Reading(ImageDataConfig(**fields))
        return super().to_evaluate(config, path, reader, overrides, **fields)

    def evaluator(self):
        """Makes an evaluator of probabilities."""
        return ClassificationEvaluator(len(self.names))

    def numbers(self, result):
        """Shows loss and accuracy after every epoch."""
        return {"loss": result["loss"], "accuracy": result["top1"]}

    def headline(self, result):
        """Says the top-1 accuracy."""
        return (
            f"Top-1 on {result['images']} images of "
            f"{self.config.data.evaluation_split}: {result['top1']:.2%}"
        )

    @property
    def reader(self):
        """The `gcvit_keras.ImageReader` of evaluation."""
        return self.config.data.image_reader

    def facts(self):
        """Counts images, outputs and pixels."""
        data = self.config.data
        height, width, _ = data.image_shape
        outputs = getattr(self.config, "outputs", "classes")
        return (
            f"{self.source.size(data.train_split)} images of "
            f"`{data.train_split}`, {len(self.source.names)} {outputs}, "
            f"{height} x {width} pixels"
        )

    def page(self, result, folder=None):
        """Shows measures, the worst classes and the confusion matrix."""
        return page(result, self.names, folder)


TASK = Classification


def _class_weights(config, source):
    """Weight of each class in the training loss, a float32 array."""
    names, wanted = list(source.names), config.class_weights
    if wanted == "balanced":
        labels = (
            source.examples(config.data.train_split)
            .map(
                lambda example: source.load(example)[1],
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            .ignore_errors()
        )
        labels = np.fromiter(labels.as_numpy_iterator(), "int64")
        counts = np.bincount(labels, minlength=len(names))
        present = np.count_nonzero(counts)
        return np.float32(len(labels) / present / np.maximum(counts, 1))
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ValueError(
            f"`class_weights` must name classes of the data, {names[:5]} ... "
            f"Received: {unknown[0]!r}"
        )
    return np.float32([wanted.get(name, 1.0) for name in names])


def evaluation_batches(source, split, data, batch_size):
    """Makes the batches on which any model is evaluated, without a run.

    Args:
        source: As `sources.open_source` returns.
        split: Name of the split.
        data: An `ImageDataConfig`: image size, crop and interpolation.
        batch_size: Images per batch.

    Returns:
        `tf.data.Dataset` of float32 images `(n, height, width, channels)`,
        pixels in [0, 255], one-hot labels `(n, classes)` and weights `(n,)`: 0
        for images that cannot be read, else 1.
    """
    task = Classification(_Reading(data), source)
    return pipeline.evaluation_batches(task, split, batch_size)


@dataclasses.dataclass(frozen=True)
class _Reading:
    """The part of a run's configuration that reading images takes."""

    data: object
    task: str = "classification"
