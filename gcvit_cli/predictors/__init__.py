"""What `gcvit predict` does with a model, a file per kind of model."""

from gcvit_cli.artifacts import open_model


def predictor(choice, options):
    """Opens the model of a `Choice`, as the `Predictor` of its kind.

    Raises a `UsageError` if one of the `Options` is of no use for its kind, a
    `ValueError` if the model cannot be opened, or does not take images.
    """
    if choice.model is None:
        from gcvit_cli.convert import build

        model = build(choice.weights, choice.variant)
    else:
        model = open_model(choice.model)
    return kind_of(model)(choice, model, options)


def kind_of(model):
    """Finds the `Predictor` class for a `keras.Model` or an `Artifact`."""
    from gcvit_cli.predictors.classifier import Classes
    from gcvit_cli.predictors.detector import Detections
    from gcvit_cli.predictors.segmenter import LOGITS, ClassMaps
    from gcvit_keras.detection.detector import Detector
    from gcvit_keras.segmentation import UPerNet

    ranks = getattr(model, "ranks", {})  # of the outputs of an export
    if isinstance(model, Detector) or {"boxes", "masks"} <= ranks.keys():
        return Detections
    # A classifier may have an output of this name, but of one row per image.
    if isinstance(model, UPerNet) or ranks == {LOGITS: 4}:
        return ClassMaps
    return Classes
