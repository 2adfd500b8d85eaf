"""`gcvit predict`."""

import json as json_module
from pathlib import Path

import numpy as np

from gcvit_cli.artifacts import find_labels, open_model
from gcvit_cli.console import console, error_line, import_tensorflow

DYNAMIC_SIZE = 224
"""Side of the images given to a model that takes any size."""


def run(images, model, variant, weights, labels, top, crop, json):
    """Classifies image files and prints the best classes of each.

    Args:
        images: Paths of image files.
        model: Path of a `.keras` or `.tflite` file or a SavedModel, or `None`.
        variant: Where `model` is `None`, the name of a variant.
        weights: Name of a preset, or path of the variant's checkpoint.
        labels: Path of the class names, `imagenet`, or `None`.
        top: Classes an image.
        crop: Crop ratio, or `None` for the default.
        json: Whether to print JSON.

    Returns:
        How many images could not be read.

    Raises:
        ValueError: If the model or the labels cannot be used.
        DownloadError: If a preset cannot be downloaded.
    """
    if model is None and variant is None and weights is None:
        raise ValueError("give either --model, or --variant or --weights")
    if model is not None and variant is not None:
        raise ValueError("give either --model or --variant, not both")
    if model is not None and weights is not None:
        raise ValueError("--weights goes with --variant, not with --model")
    if crop is not None and not 0 < crop <= 1:
        raise ValueError(f"--crop must be in (0, 1]. Received: {crop}")
    import_tensorflow()
    from gcvit_keras import find_preset, load_image
    from gcvit_keras.variants import VARIANTS

    preset = None
    if model is None:
        weights = weights or "imagenet"
        if variant is None and find_preset("tiny", weights) is None:
            raise ValueError(f"--weights {weights} needs --variant")
        variant = variant or "tiny"
        preset = find_preset(variant, weights)
    how = {"crop_ratio": 1.0}
    if preset is not None:
        how = {
            "crop_ratio": preset.crop_ratio,
            "crop_mode": preset.crop_mode,
            "interpolation": preset.interpolation,
        }
    elif variant is not None:
        how = {"crop_ratio": VARIANTS[variant].crop_ratio}
    if crop is not None:
        how["crop_ratio"] = crop
    compute, size, channels, classes = _classifier(model, variant, weights)
    if preset is not None and labels is None:
        labels = Path("imagenet")
    names = find_labels(labels, model, classes)
    if names is None:
        names = [f"class {k}" for k in range(classes)]
    failed, rows = 0, []
    for path in images:
        try:
            image = load_image(path, size, **how, channels=channels)
        except ValueError as error:
            failed += 1
            error_line(str(error))
            continue
        (scores,) = np.asarray(compute(image[None].astype("float32")))
        best = np.argsort(-scores.astype("float64"), kind="stable")[:top]
        found = [
            {"class": int(k), "label": names[k], "score": float(scores[k])}
            for k in best
        ]
        rows.append({"image": str(path), "classes": found})
        if not json:
            console.print(str(path), style="bold", soft_wrap=True)
            for c in found:
                line = f"  {c['score']:7.2%}  {c['label']}"
                console.print(line, soft_wrap=True)
    if json:
        print(json_module.dumps(rows, indent=2))
    return failed


def _classifier(path, variant, weights):
    """What computes the scores, and what it takes and gives.

    Returns:
        Callable from images to scores, `(height, width)` and channels of its
        images, and the number of its classes.
    """
    if variant is not None:
        from gcvit_cli.convert import build

        compute = build(weights, variant)
        shape = compute.input_shape[1:]
    else:
        compute, shape = open_model(path)
    # One blank image tells what the shapes alone may not.
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        size = tuple(side or DYNAMIC_SIZE for side in shape[:2])
        scores = compute(np.zeros((1, *size, shape[2]), "float32"))
        if not isinstance(scores, (dict, list)) and len(scores.shape) == 2:
            return compute, size, shape[2], scores.shape[1]
    raise ValueError(
        f"{path or weights} is no image classifier: it must take images of "
        "1, 3 or 4 channels and give one row of scores an image"
    )
