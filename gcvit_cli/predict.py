"""`gcvit predict`."""

from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import find_labels, open_model
from gcvit_cli.choice import choose
from gcvit_cli.console import console, error_line, note_line, print_json
from gcvit_cli.options import CropRatio, Json, Labels, Variant, Weights

EXAMPLE = "gcvit predict cat.jpg photos --variant tiny --weights imagenet"


def command(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...", help="Image files, or folders of them."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run, a .keras or .tflite file, or a SavedModel."
        ),
    ] = None,
    variant: Variant = None,
    weights: Weights = None,
    labels: Labels = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 5,
    crop_ratio: CropRatio = None,
    json: Json = False,
):
    """Classify image files, by ImageNet's classes or a model of your own."""
    choice = choose(model, variant, weights, labels, crop_ratio)
    import numpy as np

    compute, shape, classes = _classifier(choice)
    reader = choice.reader_for(shape)
    names = find_labels(choice.labels, choice.model, classes)
    if names is None:
        names = [f"class {k}" for k in range(classes)]
    failed, rows = 0, []
    for path in _files(images):
        try:
            image = reader.read(path)
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


def _files(paths):
    """Yields the files given, and of folders those that Pillow knows."""
    from PIL import Image

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        count = others = 0
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            try:
                Image.open(file).close()
            except OSError:
                others += 1
                continue
            count += 1
            yield file
        if others or not count:
            note_line(
                f"{path}: {count} images, and {others} files that are none"
            )


def _classifier(choice):
    """Opens the classifier.

    Returns:
        Callable from images to scores, the shape `(height, width, channels)`
        of its images, in which `None` stands for any size, and the number of
        its classes.
    """
    import numpy as np

    if choice.model is None:
        from gcvit_cli.convert import build

        compute = build(choice.weights, choice.variant)
        shape = compute.input_shape[1:]
    else:
        compute, shape = open_model(choice.model)
    # One blank image tells what the shapes alone may not.
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        size = choice.reader_for(shape).size
        scores = compute(np.zeros((1, *size, shape[2]), "float32"))
        if not isinstance(scores, (dict, list)) and len(scores.shape) == 2:
            return compute, shape, scores.shape[1]
    raise ValueError(
        f"{choice.name} is no image classifier: it must take images of 1, 3 "
        "or 4 channels and give one row of scores per image"
    )
