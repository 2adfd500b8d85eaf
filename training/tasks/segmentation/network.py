"""The segmenter of a run: new, pretrained, or with its classifier replaced."""

import json

import keras

from gcvit_keras.models.backbone import QUERY_POOLS
from gcvit_keras.segmentation import UPerNet
from gcvit_keras.segmentation.upernet import WINDOWS
from gcvit_keras.variants import VARIANTS
from gcvit_training.tasks.architecture import SIZES
from gcvit_training.tasks.backbone import build_backbone

OWN = ("window_size", "query_pools", "drop_path_rate", "channels", "dropout")
"""Further settings that a `.keras` file brings."""


def build_network(config, classes):
    """Builds the UPerNet that a run trains.

    Args:
        config: A `SegmentationConfig`.
        classes: Number of classes.

    Returns:
        `gcvit_keras.segmentation.UPerNet` of images of any size.

    Raises:
        ValueError: If the weights do not fit, or are of other settings.
        DownloadError: If a preset cannot be downloaded.
    """
    model = config.model
    if model.is_keras_file:
        return _with_classes(model, classes)
    backbone = build_backbone(
        model, model.window_size or WINDOWS, model.query_pools or QUERY_POOLS
    )
    return UPerNet(
        backbone,
        classes,
        weights=model.weights,
        channels=model.channels,
        auxiliary=model.auxiliary,
        auxiliary_channels=model.auxiliary_channels,
        dropout=model.dropout,
        name=model.name,
    )


def _with_classes(model, classes):
    """A `.keras` file's segmenter, its classifiers new for other classes."""
    try:
        base = keras.models.load_model(model.weights, compile=False)
        if not isinstance(base, UPerNet):
            raise ValueError(f"it is of class {type(base).__name__}")
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"`model.weights` is no UPerNet: {model.weights}: {reason}"
        ) from error
    _refuse_others(model, base)
    config = {**base.get_config(), "output_stride": 4, "name": model.name}
    is_same = config["num_classes"] == classes
    network = UPerNet.from_config({**config, "num_classes": classes})
    of_classes = {id(v) for v in base.classifier.variables}
    if base.auxiliary_head is not None:
        of_classes |= {id(v) for v in base.auxiliary_head.classifier.variables}
    for variable, old in zip(network.variables, base.variables, strict=True):
        if is_same or id(old) not in of_classes:
            variable.assign(old)
    return network


def _refuse_others(model, base):
    """Refuses settings that are not those of the segmenter that was loaded."""
    known = {**base.backbone.get_config(), **base.get_config()}
    known["window_size"] = tuple(side for side, _ in known["window_size"])
    known["backbone"] = None
    if model.backbone:
        variant = VARIANTS[model.backbone]
        if all(getattr(variant, name) == known[name] for name in SIZES):
            known["backbone"] = model.backbone
    names = ["backbone", *SIZES, *OWN, "auxiliary"]
    if model.auxiliary and known["auxiliary"]:
        names.append("auxiliary_channels")
    others = [n for n in names if getattr(model, n) not in (None, known[n])]
    if others:
        right, wrong = (
            ", ".join(f"{name}={json.dumps(value(name))}" for name in others)
            for value in (known.get, lambda name: getattr(model, name))
        )
        raise ValueError(
            f"`model` must have the settings of {model.weights}: {right}. "
            f"Received: {wrong}"
        )
