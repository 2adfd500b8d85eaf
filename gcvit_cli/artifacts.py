"""Opening what this library saves and exports."""

from gcvit_cli.console import quietly


def open_model(path):
    """Opens a `.keras` file, a SavedModel or a LiteRT file.

    Args:
        path: Where it is.

    Returns:
        Callable from images to scores, and its input shape.

    Raises:
        ValueError: If it cannot be opened.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such model")
    if path.suffix != ".keras":
        from savedmodel_export.runner import open_artifact

        with quietly():
            return open_artifact(path)
    import keras

    import gcvit_keras  # noqa: F401  registers the layers

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error
    # A model of several inputs has a list of shapes, and is refused for it.
    return model, model.input_shape[1:]
