"""Classifiers: a probability per class, and the best classes by name."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gcvit_export import runner
from gcvit_export.comparison import VerificationError
from gcvit_export.kinds.functional import functional, told
from gcvit_export.kinds.outputs import Outputs

TOP = 5
"""Number of classes that `serve_bytes` names."""
PROBABILITIES = "probabilities"
"""Name of the output."""


class Classifier(Outputs):
    """A functional or Sequential model of images to probabilities."""

    @classmethod
    def takes(cls, model, activation):
        output = functional(model).output
        return (
            keras.utils.is_keras_tensor(output)
            and len(output.shape) == 2
            and None not in told(model, activation)[0]
        )

    @staticmethod
    def named_outputs(model):
        return {PROBABILITIES: model.output}

    @property
    def classes(self):
        return self.network.output[PROBABILITIES].shape[-1]

    def best_classes(self, module, labels_file):
        labels = labels_table(module, labels_file)
        most = min(TOP, self.classes)

        def name_best(answer):
            scores, best = tf.math.top_k(answer[PROBABILITIES], most)
            names = labels.lookup(tf.cast(best, tf.int64))
            return {
                "top_scores": scores,
                "top_classes": best,
                "top_labels": names,
            }

        return name_best

    def check_files(self, artifact, seen, pixels):
        super().check_files(artifact, seen, pixels)
        names = seen.get(f"{runner.FILES}/top_labels")
        if names is None:
            return
        scores = seen[f"{runner.FILES}/{PROBABILITIES}"]
        labels = artifact_labels(artifact, scores.shape[-1])
        best = [labels[k] for k in scores.argmax(-1)]
        if names[:, 0].tolist() != best:
            raise VerificationError(
                f"{artifact.name}: serve_bytes names {names[:, 0].tolist()}, "
                f"where labels.txt has {best}"
            )


class Function(Classifier):
    """A function of images that an artifact is compared with.

    Args:
        function: Callable from images to probabilities.
    """

    def __init__(self, function):
        self.function = function
        self.meanings = {}
        self.features = ()

    model = network = None

    @property
    def model_shape(self):
        return (None, None, None)

    def expected(self, images):
        scores = np.asarray(self.function(images))
        meaning = "sigmoid" if scores.shape[-1] == 1 else "softmax"
        self.meanings = {PROBABILITIES: meaning}
        return {PROBABILITIES: scores}


def labels_table(module, labels_file):
    """Makes the table of the names of classes, an asset of the SavedModel.

    It is a `tf.lookup.StaticHashTable` from int64 classes, which `module`
    keeps; `labels_file` has a name per line.
    """
    module.labels_file = tf.saved_model.Asset(str(labels_file))
    module.labels = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            module.labels_file,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        default_value="",
    )
    return module.labels


def artifact_labels(artifact, classes):
    """Reads the names, bytes, of the classes that a `Seen` carries."""
    path = Path(artifact.path, "assets", "labels.txt")
    labels = path.read_bytes().splitlines()
    if len(labels) != classes:
        raise VerificationError(
            f"{artifact.name}: labels.txt has {len(labels)} labels for "
            f"{classes} classes"
        )
    return labels
