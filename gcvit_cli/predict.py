"""`gcvit predict`."""

from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.choice import choose
from gcvit_cli.console import console, error_line, note_line, print_json
from gcvit_cli.options import CropRatio, Json, Labels, Variant, Weights
from gcvit_cli.predictors import predictor
from gcvit_cli.predictors.base import Options

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
            help="Folder of a run, a .keras, .tflite or .onnx file, or a "
            "SavedModel."
        ),
    ] = None,
    variant: Variant = None,
    weights: Weights = None,
    labels: Labels = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="Classes per image, by default 5; or objects."
        ),
    ] = None,
    crop_ratio: CropRatio = None,
    score_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Detector: least score. Default: 0.3."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Detector or segmenter: folder to draw pictures into.",
        ),
    ] = None,
    json: Json = False,
):
    """Tell what is in image files.

    By ImageNet's classes or a model of your own: the best classes; of a
    detector boxes, masks, names and scores; of a segmenter each class's share
    of the pixels.
    """
    choice = choose(model, variant, weights, labels, crop_ratio)
    found = predictor(choice, Options(top, crop_ratio, score_threshold, out))
    failed, rows = 0, []
    for path in _files(images):
        try:
            row, lines = found.predict(path)
        except ValueError as error:
            failed += 1
            error_line(str(error))
            continue
        rows.append({"image": str(path), **row})
        if not json:
            console.print(str(path), style="bold", soft_wrap=True)
            for line in lines:
                console.print(f"  {line}", soft_wrap=True)
    if not rows and not failed:
        raise ValueError(f"no image in {', '.join(map(str, images))}")
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
            except Image.DecompressionBombError:
                pass  # an image that is too large, as reading it will tell
            except OSError:
                others += 1
                continue
            count += 1
            yield file
        if others or not count:
            note_line(
                f"{path}: {count} images, and {others} files that are none"
            )
