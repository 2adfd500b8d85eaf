"""`gcvit predict`."""

import json as json_module

import numpy as np

from gcvit_cli.console import (
    console,
    error_line,
    import_tensorflow,
    quietly,
)

DYNAMIC_SIZE = 224
"""Side of the images given to a model that takes any size."""


def run(images, model, variant, weights, labels, top, crop, json):
    """Classifies image files and prints the best classes of each.

    Args:
        images: Paths of image files.
        model: Path of a `.keras` or `.tflite` file or a SavedModel, or `None`.
        variant: Where `model` is `None`, the name of a variant.
        weights: Path of the variant's checkpoint.
        labels: Path of the class names, or `None`.
        top: Classes an image.
        crop: Crop ratio, or `None` for the default.
        json: Whether to print JSON.

    Returns:
        How many images could not be read.

    Raises:
        ValueError: If the model or the labels cannot be used.
    """
    if (model is None) == (variant is None):
        raise ValueError("give either --model, or --variant with --weights")
    if variant is not None and weights is None:
        raise ValueError("--variant needs --weights, a .safetensors file")
    import_tensorflow()
    from gcvit_keras import load_image
    from gcvit_keras.variants import VARIANTS

    if crop is None:
        crop = VARIANTS[variant].crop_ratio if variant else 1.0
    if not 0 < crop <= 1:
        raise ValueError(f"--crop must be in (0, 1]. Received: {crop}")
    if variant is not None:
        from gcvit_cli.convert import build

        compute, shape = _keras(build(weights, variant))
    else:
        compute, shape = _open(model)
    names = _labels(labels, model)
    *size, channels = shape
    size = [side or DYNAMIC_SIZE for side in size]

    failed, rows = 0, []
    for path in images:
        try:
            image = load_image(path, size, crop, channels)
        except ValueError as error:
            failed += 1
            error_line(str(error))
            continue
        scores = np.asarray(compute(image[None].astype("float32")))[0]
        if names is not None and len(names) != len(scores):
            raise ValueError(
                f"{len(names)} labels for a model of {len(scores)} classes"
            )
        best = np.argsort(-scores, kind="stable")[:top]
        classes = [
            {
                "class": int(k),
                "label": names[k] if names else f"class {k}",
                "score": float(scores[k]),
            }
            for k in best
        ]
        rows.append({"image": str(path), "classes": classes})
        if not json:
            console.print(path, style="bold", soft_wrap=True, markup=False)
            for c in classes:
                line = f"  {c['score']:7.2%}  {c['label']}"
                console.print(line, markup=False, soft_wrap=True)
    if json:
        print(json_module.dumps(rows, indent=2))
    return failed


def _open(path):
    """Callable and input shape of a model file."""
    if not path.exists():
        raise ValueError(f"{path}: no such model")
    if path.suffix != ".keras":
        from savedmodel_export.runner import open_artifact

        with quietly():
            return open_artifact(path)
    import keras

    import gcvit_keras  # noqa: F401  registers the layers

    try:
        return _keras(keras.models.load_model(path, compile=False))
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be opened: {reason}") from error


def _keras(model):
    return model, model.input_shape[1:]


def _labels(path, model):
    """Class names from a file, or `None`."""
    if path is None:
        if model is None:
            return None
        # A version of a SavedModel lies one folder below its name.
        folders = [model.parent, model.resolve().parent.parent]
        found = [f / "labels.txt" for f in folders[: 1 + model.name.isdigit()]]
        path = next((f for f in found if f.is_file()), None)
        if path is None:
            return None
    return path.read_text(encoding="utf-8").splitlines()
