"""The backbone of a detector and of a segmenter."""

from gcvit_keras import GCViTBackbone


def build_backbone(model, window_size, query_pools):
    """Builds the backbone that a recipe says, by name or by sizes.

    Args:
        model: A `DetectionModelConfig` or a `SegmentationModelConfig`.
        window_size: Sides of the windows of each level.
        query_pools: How often each level's query generator halves its map.

    Returns:
        `gcvit_keras.GCViTBackbone` with norms on its outputs.

    Raises:
        ValueError: If the weights do not fit.
        DownloadError: If a preset cannot be downloaded.
    """
    arguments = {
        "window_size": window_size,
        "query_pools": query_pools,
        "level_norms": True,
        "drop_path_rate": model.drop_path_rate,
        "name": "backbone",
    }
    if model.backbone:
        # A checkpoint of the whole model brings its own.
        weights = model.backbone_weights if model.weights is None else None
        return GCViTBackbone(model.backbone, weights=weights, **arguments)
    return GCViTBackbone(**model.sizes, **arguments)
