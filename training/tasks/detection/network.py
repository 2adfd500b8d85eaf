"""The detector of a run, and what of it is not decayed."""

import keras

from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN
from gcvit_training.tasks.backbone import build_backbone

DETECTORS = {"mask_rcnn": MaskRCNN, "cascade_mask_rcnn": CascadeMaskRCNN}
TABLE = "relative_position_bias_table"


def build_network(config, classes, has_masks=True):
    """Builds the detector that a run trains.

    Args:
        config: A `DetectionConfig`.
        classes: Number of classes.
        has_masks: Whether masks are learned; else the mask heads stay as they
            begin.

    Returns:
        `MaskRCNN` or `CascadeMaskRCNN`.

    Raises:
        ValueError: If the weights do not fit.
        DownloadError: If a preset cannot be downloaded.
    """
    model = config.model
    network = DETECTORS[model.detector](
        build_backbone(model, model.window_size, (3, 2, 1, 0)),
        classes,
        weights=model.weights,
        fpn_channels=model.fpn_channels,
        fc_channels=model.fc_channels,
        seed=config.seed,
        name=model.name,
    )
    if not has_masks:
        for head in network.mask_heads:
            head.trainable = False
    return network


def not_decayed(network, decay):
    """Finds the variables that weight decay leaves out.

    Args:
        network: As `build_network` returns.
        decay: `"meant"`: all norms and position tables. `"as_run"`: what the
            rules of the official settings match: they say `norm`, which the
            batch norm of the heads is not called, and for Mask R-CNN name the
            position tables wrongly.

    Returns:
        List of variables.
    """
    norms = (keras.layers.LayerNormalization,)
    if decay == "meant":
        norms += (keras.layers.BatchNormalization,)
    variables = [
        variable
        for layer in network._flatten_layers()
        if isinstance(layer, norms)
        for variable in layer.trainable_variables
    ]
    if decay == "meant" or isinstance(network, CascadeMaskRCNN):
        variables += [
            variable
            for variable in network.trainable_variables
            if TABLE in variable.path
        ]
    return variables
