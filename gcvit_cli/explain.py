"""`gcvit explain`."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import find_labels, load_keras, model_file
from gcvit_cli.choice import choose
from gcvit_cli.console import UsageError, console, quietly
from gcvit_cli.options import CropRatio, Labels, Variant, Weights

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
):
    """Show what a model looks at in an image, on one page.

    The image, the best classes, Grad-CAM of each, and the global attention of
    each level by head.
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
        page = _page(image, choice)
        beside.write_text(page, encoding="utf-8")
    console.print(f"Wrote {out}", soft_wrap=True)


def _page(image, choice):
    """The page of an image file, for what `choose` has chosen."""
    from gcvit_cli.explain_page import page_of

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
    shape = network.input_shape
    if not isinstance(shape, tuple) or shape[3:] not in ((1,), (3,)):
        raise ValueError(
            f"{choice.name} does not take images of 1 or 3 channels"
        )
    _check_classifier(network, choice.name)
    try:
        pixels = choice.reader_for(shape[1:]).read(image)
    except ValueError as error:
        raise ValueError(f"IMAGE cannot be used: {error}") from error
    classes = max(network.output_shape[1], 2)  # a single score is of two
    names = find_labels(choice.labels, path, classes)
    try:
        with quietly():
            return page_of(network, pixels, names, image.name, name)
    except ValueError as error:
        raise ValueError(
            f"{choice.name} cannot be explained: {error}"
        ) from error


def _check_classifier(network, option):
    import keras

    from gcvit_keras.models.scores import scoring_layer

    scores = network.output_shape
    if not isinstance(scores, tuple) or len(scores) != 2:
        raise ValueError(f"{option} does not give scores of classes: {scores}")
    pools = keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D
    if isinstance(scoring_layer(network), pools):
        raise ValueError(f"{option} ends in features, in no classifier")
