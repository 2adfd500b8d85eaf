"""Segmentation: a class for each pixel of images."""

import numpy as np
import tensorflow as tf

from gcvit_keras.segmentation import SegmentationReader
from gcvit_keras.segmentation.colours import overlay
from gcvit_keras.segmentation.inference import Inference
from gcvit_keras.segmentation.losses import IGNORED, pixel_crossentropy
from gcvit_training.tasks.images import ImageTask
from gcvit_training.tasks.pages import cell, percent
from gcvit_training.tasks.segmentation.check import check_split, split_page
from gcvit_training.tasks.segmentation.config import SegmentationConfig
from gcvit_training.tasks.segmentation.evaluator import SegmentationEvaluator
from gcvit_training.tasks.segmentation.examples import (
    read_pair,
    training_pair,
    whole_pair,
)
from gcvit_training.tasks.segmentation.network import build_network
from gcvit_training.tasks.segmentation.sources import open_source

__all__ = ["Segmentation", "SegmentationConfig", "SegmentationEvaluator"]


class Segmentation(ImageTask):
    """Images of any size to logits of each pixel.

    Crops are trained on; images are measured whole, or by windows, against
    their label maps in the size that these have.
    """

    Config = SegmentationConfig
    recipe = "segmentation_finetune"
    Reader = SegmentationReader

    def __init__(self, config, source):
        super().__init__(config, source)
        if config.model.auxiliary:
            self.loss_names = ("main", "auxiliary")

    @classmethod
    def open_source(cls, config, data_dir=None):
        """Opens folders of images and label maps, and TFDS's datasets."""
        return open_source(config.data, data_dir)

    def example(self, content, seed=None):
        """Makes a crop, or an image to be measured, with its label map."""
        image, labels = read_pair(content, self.source.table)
        data = self.config.data
        if seed is None:
            inputs = whole_pair(image, labels, data.largest_side)
            return inputs, inputs["sizes"]
        return training_pair(image, labels, seed, data, self.config.augment)

    def batch(self, inputs, targets, seed=None):
        """Cuts images that are measured to the largest of the batch."""
        if seed is not None:
            return inputs, targets
        most = tf.maximum(tf.reduce_max(targets, axis=0), 1)
        return {
            # Of an image that cannot be read they are 0.
            "sizes": tf.maximum(inputs["sizes"], 1),
            "images": inputs["images"][:, : most[0], : most[1]],
            "labels": inputs["labels"][:, : most[0], : most[1]],
        }, targets

    def network(self):
        """Builds a UPerNet."""
        return build_network(self.config, len(self.source.names))

    def losses(self, network, inputs, targets, training):
        """Computes the cross-entropy of the pixels, of both heads."""
        outputs = network(inputs, training=training)
        if not isinstance(outputs, dict):
            (name, *_) = self.loss_names
            return {name: pixel_crossentropy(targets, outputs)}
        weight = self.config.model.auxiliary_weight
        return {
            "main": pixel_crossentropy(targets, outputs["logits"]),
            "auxiliary": weight
            * pixel_crossentropy(targets, outputs["auxiliary"]),
        }

    @property
    def inference(self):
        """How images are measured."""
        data = self.config.data
        return Inference(
            data.short_side,
            data.long_side,
            data.window,
            data.stride,
            data.scales,
            data.flips,
        )

    def predict(self, network, inputs):
        """Counts the pixels of each class that are taken for each.

        Images are computed one by one, in their own sizes. Label maps are
        inputs here: what is counted is small, and class maps are not.

        Returns:
            Int32 tensor `(batch, classes, classes)`.
        """
        inference, classes = self.inference, len(self.names)

        @tf.autograph.experimental.do_not_convert  # errors as they are
        def count(one):
            height, width = tf.unstack(one["sizes"])
            scores = inference.scores(
                lambda x: network(x, training=False),
                one["images"][:height, :width],
            )
            if scores.shape[-1] not in (None, classes):
                raise ValueError(
                    f"the model has {scores.shape[-1]} classes, of which "
                    f"{classes} are known: give the names of its classes"
                )
            taken = tf.argmax(scores, axis=-1, output_type=tf.int32)
            labels = tf.cast(one["labels"][:height, :width], tf.int32)
            counts = labels != IGNORED
            truth = tf.boolean_mask(labels, counts)
            return tf.math.confusion_matrix(
                tf.gather(tf.constant(self.places), truth),
                tf.boolean_mask(taken, counts),
                classes,
            )

        return tf.map_fn(
            count,
            {k: tf.convert_to_tensor(v) for k, v in inputs.items()},
            fn_output_signature=tf.TensorSpec((classes, classes), tf.int32),
            parallel_iterations=1,
        )

    def evaluator(self):
        """Makes an evaluator of class maps."""
        return SegmentationEvaluator(self.names)

    def headline(self, result):
        """Says the mean overlap."""
        return (
            f"mIoU on {result['images']} images of "
            f"{self.config.data.evaluation_split}: {result['miou']:.2%}"
        )

    check_split = staticmethod(check_split)
    split_page = staticmethod(split_page)

    def picture(self, inputs, targets):
        """Lays classes over a crop; its title has the largest three."""
        numbers, counts = np.unique(
            targets[targets != IGNORED], return_counts=True
        )
        largest = numbers[np.argsort(-counts, kind="stable")][:3]
        title = ", ".join(self.names[k] for k in largest)
        return overlay(inputs, targets), title

    def facts(self):
        """Counts images, classes and pixels."""
        data = self.config.data
        return (
            f"{self.source.size(data.train_split)} images of "
            f"`{data.train_split}`, {len(self.names)} classes, crops of "
            f"{data.crop_size} x {data.crop_size} pixels"
        )

    def page(self, result, folder=None):
        """Shows measures over all classes and of each."""
        measures = {
            "mIoU": result["miou"],
            "mean accuracy of the classes": result["mean_accuracy"],
            "accuracy of the pixels": result["pixel_accuracy"],
        }
        rows = sorted(
            result["per_class"],
            key=lambda row: -1.0 if row["iou"] is None else row["iou"],
        )
        return [
            "| | |",
            "|---|---|",
            *(f"| {name} | {value:.2%} |" for name, value in measures.items()),
            f"| images | {result['images']} |",
            "",
            "Classes, the worst first:",
            "",
            "| class | IoU | accuracy | pixels |",
            "|---|--:|--:|--:|",
            *(
                f"| {cell(row['class'])} | {percent(row['iou'])} "
                f"| {percent(row['accuracy'])} | {row['pixels']} |"
                for row in rows
            ),
        ]


TASK = Segmentation
