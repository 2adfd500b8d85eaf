"""Finds what of a model is served: `KINDS` has a class per kind of model."""

from gcvit_export.kinds.base import AUTO, Served
from gcvit_export.kinds.classifier import Classifier
from gcvit_export.kinds.detector import ServedDetector
from gcvit_export.kinds.outputs import Outputs
from gcvit_export.kinds.segmenter import Segmenter
from gcvit_keras import checks

# The first that takes a model is its kind.
KINDS = (ServedDetector, Segmenter, Classifier, Outputs)


def served(
    model, activation=AUTO, *, dynamic_size=False, features=False
) -> Served:
    """Finds what of a model is served.

    A single output of probabilities is called `probabilities`; any other is
    called as in the model: by its key, or by the layer that computes it.

    Args:
        model: A detector; or a functional or Sequential model, built, from
            images `(batch, height, width, channels)` to one or several
            outputs.
        activation: Activation that outputs without one need, `"softmax"`,
            `"sigmoid"` or `None`, or a dict of these by the names of outputs.
            `"auto"` takes what the last layer and the loss that the model is
            compiled with tell.
        dynamic_size: Whether height and width become dynamic.
        features: Whether to add the feature maps, where the model has the
            levels of a GC ViT as its own layers.

    Returns:
        A `Served`.

    Raises:
        ValueError: If the model does not take images, or nothing tells what
            an output means.
    """
    checks.tensorflow_backend("gcvit_export")
    kind = kind_of(model, activation)
    return kind.of(model, activation, dynamic_size, features)


def kind_of(model, activation=AUTO) -> type[Served]:
    """Finds the class among `KINDS`; arguments and errors as of `served`."""
    return next(kind for kind in KINDS if kind.takes(model, activation))
