"""`gcvit predict`."""

import json as json_module

import numpy as np

from gcvit_cli.artifacts import find_labels, open_model
from gcvit_cli.choice import choose
from gcvit_cli.console import console, error_line

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
    choice = choose(model, variant, weights, labels, crop)
    from gcvit_keras import load_image

    compute, size, channels, classes = _classifier(choice)
    names = find_labels(choice.labels, model, classes)
    if names is None:
        names = [f"class {k}" for k in range(classes)]
    failed, rows = 0, []
    for path in images:
        try:
            image = load_image(path, size, **choice.how, channels=channels)
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


def _classifier(choice):
    """What computes the scores, and what it takes and gives.

    Returns:
        Callable from images to scores, `(height, width)` and channels of its
        images, and the number of its classes.
    """
    if choice.variant is not None:
        from gcvit_cli.convert import build

        compute = build(choice.weights, choice.variant)
        shape = compute.input_shape[1:]
    else:
        compute, shape = open_model(choice.model)
    # One blank image tells what the shapes alone may not.
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        size = tuple(side or DYNAMIC_SIZE for side in shape[:2])
        scores = compute(np.zeros((1, *size, shape[2]), "float32"))
        if not isinstance(scores, (dict, list)) and len(scores.shape) == 2:
            return compute, size, shape[2], scores.shape[1]
    raise ValueError(
        f"{choice.model or choice.weights} is no image classifier: it must "
        "take images of 1, 3 or 4 channels and give one row of scores an image"
    )
