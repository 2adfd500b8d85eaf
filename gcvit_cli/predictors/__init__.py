"""What `gcvit predict` does with a model, a file per kind of model."""

import importlib

from gcvit_cli.artifacts import load_keras
from gcvit_cli.console import quietly

PREDICTORS = {
    "detector": "Detections",
    "segmenter": "ClassMaps",
    "classifier": "Classes",
}
"""Kinds: the file here, and the class in it. The first that takes a model is
its kind."""


def predictor(choice, options):
    """Opens the model of a choice, as what its kind predicts.

    Args:
        choice: A `gcvit_cli.choice.Choice`.
        options: A `gcvit_cli.predictors.base.Options`.

    Returns:
        A `gcvit_cli.predictors.base.Predictor`.

    Raises:
        UsageError: If an option is of no use for its kind.
        ValueError: If the model cannot be opened, or is of no kind.
    """
    model = _open(choice)
    for file, name in PREDICTORS.items():
        kind = getattr(importlib.import_module(f"{__name__}.{file}"), name)
        if kind.takes(model):
            return kind(choice, model, options)
    raise ValueError(f"{choice.name} is a model of no kind")


def _open(choice):
    """A `keras.Model`, or an export as `gcvit_export.runner.Artifact`."""
    if choice.model is None:
        from gcvit_cli.convert import build

        return build(choice.weights, choice.variant)
    if choice.model.suffix == ".keras":
        return load_keras(choice.model)
    from gcvit_export.runner import Artifact

    with quietly():
        return Artifact(choice.model)
