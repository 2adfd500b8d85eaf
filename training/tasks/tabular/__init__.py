"""Labels or numbers per image from a table: multi-label, regression."""

from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from gcvit_training.tasks import Task
from gcvit_training.tasks.classification import Classification
from gcvit_training.tasks.classification.augment import mix
from gcvit_training.tasks.classification.config import ImageRunConfig
from gcvit_training.tasks.classification.network import build_network
from gcvit_training.tasks.classification.sources import check_splits
from gcvit_training.tasks.pages import cell
from gcvit_training.tasks.tabular.evaluators import (
    LabelEvaluator,
    NumberEvaluator,
)
from gcvit_training.tasks.tabular.table import open_table

__all__ = ["Tabular", "TabularConfig", "open_table"]


class TabularConfig(ImageRunConfig):
    """One run that trains on a table.

    Attributes:
        outputs: `labels`, of which any number may apply to an image: a head
            with a sigmoid, trained with binary cross-entropy. Or `numbers`: a
            linear head, trained with the squared error in units of each
            number's standard deviation.
    """

    outputs: Literal["labels", "numbers"] = "labels"


class Tabular(Classification):
    """Images `(size, size, 3)` to a probability per label, or to numbers."""

    Config = TabularConfig
    metric_names = ()
    class_weights = None

    @classmethod
    def open_source(cls, config, data_dir=None):
        """Opens a CSV or JSON Lines file."""
        data = config.data
        source = open_table(data.dataset, data.holdout)
        check_splits(source, data)
        if config.outputs == "labels":
            for split, values in source.values.items():
                if not np.isin(values, (0, 1)).all():
                    raise ValueError(
                        "labels must be 0 or 1; numbers take "
                        f"`outputs: numbers`. Received: {data.dataset}, "
                        f"split {split}"
                    )
        return source

    def batch(self, inputs, targets, seed=None):
        """Mixes training images, and their labels or numbers."""
        augment = self.config.augment
        if seed is not None and (augment.mixup or augment.cutmix):
            return mix(inputs, targets, seed, augment.mixup, augment.cutmix)
        return inputs, targets

    def network(self):
        """Builds a GC ViT with an output per label or number."""
        outputs = len(self.source.names)
        if self.config.outputs == "labels":
            return build_network(self.config, outputs, "sigmoid")
        network = build_network(self.config, outputs, None)
        mean, scale = self._moments()
        units = keras.layers.Rescaling(
            scale.tolist(), mean.tolist(), dtype="float32", name="units"
        )
        return keras.Model(
            network.input, units(network.output), name=network.name
        )

    def losses(self, network, inputs, targets, training):
        """Computes binary cross-entropy, or the squared error."""
        outputs = tf.cast(network(inputs, training=training), tf.float32)
        if self.config.outputs == "labels":
            loss = keras.losses.binary_crossentropy(targets, outputs)
        else:
            errors = (outputs - targets) / self._moments()[1]
            loss = tf.reduce_mean(errors**2, axis=-1)
        return {"loss": loss}

    def tally(self, targets):
        """Counts the images of every label; gives the mean of every number."""
        values = np.asarray(targets).reshape(-1, len(self.names))
        if self.config.outputs == "labels":
            counts = values.sum(0).astype(int).tolist()
        else:
            counts = values.mean(0).round(6).tolist()
        return dict(zip(self.names, counts, strict=True))

    def title(self, target):
        """Names the labels, or the numbers, of a training image."""
        if self.config.outputs == "numbers":
            pairs = zip(self.names, target, strict=True)
            return ", ".join(f"{name} {value:.4g}" for name, value in pairs)
        return " + ".join(
            name if target[k] == 1 else f"{target[k]:.0%} {name}"
            for k, name in enumerate(self.names)
            if target[k] > 0
        )

    def use_classes(self, names, model):
        """Checks that the model has the outputs of the table, in order."""
        if names is not None and list(names) != list(self.source.names):
            raise ValueError(
                f"{model} has the outputs {', '.join(names)}; "
                f"{self.config.data.dataset} has {', '.join(self.names)}"
            )
        return []

    @classmethod
    def to_evaluate(cls, config, path, reader, overrides=(), **data):
        """Needs the run, which says what the outputs are."""
        if config is None:
            raise ValueError(
                "a model of this task is measured as its run's folder only"
            )
        if data["dataset"] == config.data.dataset:
            # The units of numbers are those of what was trained on.
            data["train_split"] = config.data.train_split
        return super().to_evaluate(config, path, reader, overrides, **data)

    def evaluator(self):
        """Makes an evaluator of labels or of numbers."""
        names = self.source.names
        if self.config.outputs == "labels":
            return LabelEvaluator(names)
        return NumberEvaluator(names, self._moments()[1])

    numbers = Task.numbers  # the loss, and the means over all outputs

    def headline(self, result):
        """Says the mean average precision, or the explained variance."""
        split = self.config.data.evaluation_split
        if self.config.outputs == "labels":
            measure = f"{result['mean_average_precision']:.4f}"
            measure = f"Mean average precision {measure}"
        else:
            measure = f"Explained variance {result['r2']:.4f}"
        return f"{measure} on {result['images']} images of {split}"

    def page(self, result, folder=None):
        """Shows the measures of every output."""
        rows = result.get("per_label") or result["per_number"]
        names = [name.replace("_", " ") for name in rows[0]]
        lines = [
            f"- {name.replace('_', ' ')}: {value:.4f}"
            for name, value in self.numbers(result).items()
        ]
        lines += ["", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
        for row in rows:
            cells = [
                "-"
                if value is None
                else f"{value:.4f}"
                if isinstance(value, float)
                else cell(value)
                for value in row.values()
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def _moments(self):
        """Mean and standard deviation of each number in training."""
        values = self.source.values[self.config.data.train_split]
        deviation = values.std(0)
        return values.mean(0), np.where(deviation > 0, deviation, 1.0).astype(
            "float32"
        )


TASK = Tabular
