"""The segmenter of a run: new, pretrained, or with its classifier replaced."""

import keras

from gcvit_keras import GCViTBackbone
from gcvit_keras.models.backbone import QUERY_POOLS
from gcvit_keras.segmentation import UPerNet
from gcvit_keras.segmentation.upernet import WINDOWS


def build_network(config, classes):
    """Builds the UPerNet that a run trains.

    Args:
        config: A `SegmentationConfig`.
        classes: Number of classes.

    Returns:
        `gcvit_keras.segmentation.UPerNet` of images of any size.

    Raises:
        ValueError: If the weights do not fit.
        DownloadError: If a preset cannot be downloaded.
    """
    model = config.model
    if model.is_keras_file:
        return _with_classes(model, classes)
    return UPerNet(
        _backbone(model), classes, weights=model.weights, **_heads(model)
    )


def _backbone(model):
    arguments = {
        "window_size": model.window_size or WINDOWS,
        "query_pools": model.query_pools or QUERY_POOLS,
        "level_norms": True,
        "drop_path_rate": model.drop_path_rate,
        "name": "backbone",
    }
    if model.backbone:
        # A checkpoint of the whole segmenter brings its own.
        weights = model.backbone_weights if model.weights is None else None
        return GCViTBackbone(model.backbone, weights=weights, **arguments)
    return GCViTBackbone(
        embed_dim=model.embed_dim,
        depths=model.depths,
        num_heads=model.num_heads,
        mlp_ratio=model.mlp_ratio,
        **arguments,
    )


def _heads(model):
    return {
        "channels": model.channels,
        "auxiliary": model.auxiliary,
        "auxiliary_channels": model.auxiliary_channels,
        "dropout": model.dropout,
        "name": model.name,
    }


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
