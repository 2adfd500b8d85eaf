"""What `gcvit predict` does with a model, a file per kind of model."""

from gcvit_cli.artifacts import open_model


def predictor(choice, options):
    """Opens the model of a choice, as what its kind predicts.

    Args:
        choice: A `gcvit_cli.choice.Choice`.
        options: A `gcvit_cli.predictors.base.Options`.

    Returns:
        A `gcvit_cli.predictors.base.Predictor`.

    Raises:
        UsageError: If an option is of no use for its kind.
        ValueError: If the model cannot be opened, or does not take images.
    """
    model = _open(choice)
    return kind_of(model)(choice, model, options)


def kind_of(model):
    """Finds the kind of a model.

    Args:
        model: `keras.Model`, or `gcvit_export.runner.Artifact`.

    Returns:
        A subclass of `gcvit_cli.predictors.base.Predictor`.
    """
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
