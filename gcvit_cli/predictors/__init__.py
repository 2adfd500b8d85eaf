"""What `gcvit predict` does with a model, a file per kind of model."""

from gcvit_cli.artifacts import open_model


def predictor(choice, options):
    """Opens the model of a `Choice`, as the `Predictor` of its kind.

    Raises a `UsageError` if one of the `Options` is of no use for its kind, a
    `ValueError` if the model cannot be opened, or does not take images.
    """
    model = _open(choice)
    return kind_of(model)(choice, model, options)


def kind_of(model):
    """Finds the `Predictor` class for a `keras.Model` or an `Artifact`."""
    from gcvit_cli.predictors.classifier import Classes
    from gcvit_cli.predictors.detector import Detections
    from gcvit_cli.predictors.segmenter import ClassMaps

    kinds = (Detections, ClassMaps, Classes)
    return next(kind for kind in kinds if kind.takes(model))


def _open(choice):
    """A `keras.Model`, or an export as `gcvit_export.runner.Artifact`."""
    if choice.model is None:
        from gcvit_cli.convert import build

        return build(choice.weights, choice.variant)
    return open_model(choice.model)
