"""`gcvit predict`."""

from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import find_labels, open_model
from gcvit_cli.choice import choose
from gcvit_cli.console import console, error_line, print_json
from gcvit_cli.options import CropRatio, Json, Labels, Variant, Weights

EXAMPLE = "gcvit predict cat.jpg --variant tiny --weights imagenet"

DYNAMIC_SIZE = 224
"""Side of the images given to a model that takes any size."""


def command(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="A .keras or .tflite file, or a SavedModel folder."),
    ] = None,
    variant: Variant = None,
    weights: Weights = None,
    labels: Labels = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 5,
    crop_ratio: CropRatio = None,
    json: Json = False,
):
    """Classify image files."""
    choice = choose(model, variant, weights, labels, crop_ratio)
    import numpy as np

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
        print_json(rows)
    if failed:
        raise typer.Exit(1)


def _classifier(choice):
    """What computes the scores, and what it takes and gives.

    Returns:
        Callable from images to scores, `(height, width)` and channels of its
        images, and the number of its classes.
    """
    import numpy as np

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
        "take images of 1, 3 or 4 channels and give one row of scores per image"
    )
