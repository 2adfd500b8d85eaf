"""`gcvit explain`."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import load_keras, model_file
from gcvit_cli.choice import choose
from gcvit_cli.console import UsageError, console, quietly
from gcvit_cli.options import CropRatio, Labels, Variant, Weights
from gcvit_cli.predictors import kind_of

EXAMPLE = "gcvit explain cat.jpg --model run --out report.html"


def command(
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="An image file."),
    ],
    out: Annotated[Path, typer.Option(help="The .html file to write.")],
    model: Annotated[
        Path | None,
        typer.Option(help="A .keras file, or the folder of a run."),
    ] = None,
    variant: Variant = None,
    weights: Weights = None,
    labels: Labels = None,
    crop_ratio: CropRatio = None,
    class_: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME|NUMBER",
            help="Classifier or segmenter: class whose map is shown first. "
            "Default: the one with the highest score.",
        ),
    ] = None,
    box: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Detector: number of the object to show first, by its score. "
            "Default: 1.",
        ),
    ] = None,
):
    """Show what a model looks at in an image, on one page.

    The image, the best classes or objects or each pixel's class, Grad-CAM of
    each, and the global attention of each level by head.
    """
    if out.suffix.lower() != ".html" or out.is_dir():
        raise UsageError(f"--out must be a file that ends in .html: {out}")
    choice = choose(model, variant, weights, labels, crop_ratio)
    from gcvit_keras.files import replacing

    with contextlib.ExitStack() as stack:
        # The output first: what follows takes long, and must not be for
        # nothing. What a link points to is replaced, not the link.
        try:
            beside = stack.enter_context(replacing(out.resolve()))
        except OSError as error:
            raise ValueError(
                f"--out cannot be written: {out}: {error.strerror}"
            ) from error
        page = _page(image, choice, class_, box, crop_ratio)
        beside.write_text(page, encoding="utf-8")
    console.print(f"Wrote {out}", soft_wrap=True)


def _page(image, choice, class_, box, crop_ratio):
    """The page of an image file, for what `choose` has chosen."""
    path = choice.model
    if path is None:
        from gcvit_cli.convert import build

        name = f"GC ViT {choice.variant}, weights {choice.weights}"
        network = build(choice.weights, choice.variant)
    else:
        path = model_file(path)
        name = str(path)
        with quietly():
            network = load_keras(path)
    kind = kind_of(network)
    for option, value, tasks in (
        ("--crop-ratio", crop_ratio, ("classification",)),
        ("--class", class_, ("classification", "segmentation")),
        ("--box", box, ("detection",)),
    ):
        if value is not None and kind.task not in tasks:
            raise UsageError(f"{option} does not go with {kind.kind}")
    from gcvit_cli import explain_classes, explain_objects, explain_pixels

    of_task = {
        "classification": explain_classes,
        "detection": explain_objects,
        "segmentation": explain_pixels,
    }
    return of_task[kind.task].page(
        network, image, choice, path, name, box if class_ is None else class_
    )
