"""Arguments of the `gcvit` command; the work is in the files beside it.

TensorFlow takes seconds to import, so every command imports it for itself.
"""

import os
import signal
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.client_commands import client
from gcvit_cli.console import error_line
from gcvit_cli.options import (
    Json,
    Labels,
    Variant,
    VariantName,
    Weights,
    WeightsLabels,
)

app = typer.Typer(
    help="GC ViT for Keras 3: train, predict, convert and export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(client, name="client")

ExportFormat = StrEnum("ExportFormat", "savedmodel litert serving onnx")
Quantize = StrEnum("Quantize", "float16 dynamic int8")
PixelType = StrEnum("PixelType", "float32 uint8")
ExportData = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Images to compare on: digits, a name that TFDS knows, or a "
        "folder. Default: photographs.",
    ),
]
VerifySplit = Annotated[
    str | None, typer.Option(help="Split to compare on. Default: test.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of TFDS's datasets.")
]


@app.command(epilog="Example: `gcvit quickstart --out digits`")
def quickstart(
    out: Annotated[
        Path, typer.Option(help="Folder for everything that is made.")
    ] = Path("gcvit-quickstart"),
    json: Json = False,
):
    """Train, export and predict on real handwritten digits.

    Takes two to four minutes on two CPU cores. What is in the folder from an
    earlier run is used again, not made again.
    """
    from gcvit_cli.quickstart import run

    run(out, json)


@app.command(
    epilog="Example: `gcvit train digits --out run --set epochs=5 "
    "--set optimizer.learning_rate=1e-3`"
)
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="digits, imagenet or finetune, or a YAML file like theirs.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run: new, empty, or of this very run, which "
            "then goes on."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="In place of the recipe's value; may be repeated.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of TFDS's datasets. Default: data in OUT."),
    ] = None,
    check_data: Annotated[
        bool,
        typer.Option(
            "--check-data",
            help="Only read every image once, and say what is there.",
        ),
    ] = False,
    preview: Annotated[
        Path | None,
        typer.Option(help="Only draw augmented images, into this PNG."),
    ] = None,
    json: Json = False,
):
    """Train a GC ViT with model.fit, or go on after a crash.

    Stopped by SIGTERM it writes a checkpoint and exits with 143.
    """
    from gcvit_cli.train import run

    run(recipe, out, overrides or [], data_dir, check_data, preview, json)


@app.command(
    epilog="Example: `gcvit evaluate model.tflite --data photos --split test`"
)
def evaluate(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT",
            help="Folder of a run, a .keras or .tflite file, or a SavedModel.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="digits, a name that TFDS knows, or a folder. Default: a "
            "run's own.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Default: a run's own, else test."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of TFDS's datasets.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Side of the images, for a model that takes any."
        ),
    ] = None,
    crop: Annotated[
        float | None,
        typer.Option(help="Share of the side that is seen. Default: 1."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images at once.")
    ] = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json and confusion.png. Default: the "
            "run."
        ),
    ] = None,
    json: Json = False,
):
    """Measure accuracy, loss and calibration of a model or an export."""
    from gcvit_cli.evaluate import run

    run(artifact, data, split, data_dir, size, crop, batch_size, out, json)


@app.command("list", epilog="Example: `gcvit list --presets`")
def list_variants(
    presets: Annotated[
        bool,
        typer.Option(
            "--presets", help="List the published weights and their licence."
        ),
    ] = False,
    json: Json = False,
):
    """List the published variants, or their weights."""
    from gcvit_cli.variants import run

    run(presets, json)


@app.command(
    epilog="Example: `gcvit predict cat.jpg --variant tiny --weights imagenet`"
)
def predict(
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
    labels: WeightsLabels = None,
    top: Annotated[int, typer.Option(min=1, help="Classes an image.")] = 5,
    crop: Annotated[
        float | None,
        typer.Option(
            help="Share of the image's shorter side that the centre crop "
            "keeps. Default: the published one, 1 with --model."
        ),
    ] = None,
    json: Json = False,
):
    """Classify image files."""
    from gcvit_cli.predict import run

    failed = run(
        images=images,
        model=model,
        variant=variant.value if variant else None,
        weights=weights,
        labels=labels,
        top=top,
        crop=crop,
        json=json,
    )
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="Example: `gcvit convert gcvit_tiny.pth --variant tiny "
    "--out gcvit_tiny.keras`"
)
def convert(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A .safetensors, .pth or .pth.tar file, or a name that "
            "`gcvit list --presets` shows.",
        ),
    ],
    variant: Annotated[VariantName, typer.Option(help="The variant it is of.")],
    out: Annotated[Path, typer.Option(help="The .keras file to write.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT where it is there.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare with timm's model in PyTorch, where both are "
            "installed.",
        ),
    ] = False,
):
    """Convert a PyTorch checkpoint, in timm's or the official naming."""
    from gcvit_cli.convert import run

    run(checkpoint, variant.value, out, overwrite, verify)


@app.command(
    epilog="Example: `gcvit export run --format litert --quantize int8 "
    "--data photos --out photos.tflite`"
)
def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A .keras file, or the folder of a run."
        ),
    ],
    format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="savedmodel: the next version in the folder OUT. serving: "
            "the same, in a folder for a TensorFlow Serving container. "
            "litert and onnx: the file OUT.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File or folder to write.")],
    quantize: Annotated[
        Quantize | None,
        typer.Option(help="litert: smaller weights. int8 needs --data."),
    ] = None,
    input_dtype: Annotated[
        PixelType | None,
        typer.Option(help="litert: type of the pixels. Default: float32."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="serving: the model's name. Default: its own."),
    ] = None,
    labels: Labels = None,
    crop_ratio: Annotated[
        float | None,
        typer.Option(
            help="savedmodel, serving: share of an image file's shorter side "
            "that is seen. Default: a run's own, else 1."
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1, help="savedmodel, serving: of image files. Default: 89 M."
        ),
    ] = None,
    dynamic_size: Annotated[
        bool,
        typer.Option(
            "--dynamic-size",
            help="savedmodel, serving: take images of any size.",
        ),
    ] = False,
    data: ExportData = None,
    split: VerifySplit = None,
    calibration_split: Annotated[
        str | None,
        typer.Option(
            help="Split that int8's ranges are found from. Default: train."
        ),
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
):
    """Export a model, and check it in a process without Keras.

    What computes something else than the model is not written.
    """
    from gcvit_cli.export import Source, export

    export(
        model=model,
        out=out,
        format=format.value,
        quantize=quantize.value if quantize else None,
        input_dtype=input_dtype.value if input_dtype else None,
        name=name,
        labels=labels,
        reading={"crop_ratio": crop_ratio, "max_pixels": max_pixels},
        dynamic_size=dynamic_size,
        source=Source(data, data_dir, split, calibration_split),
        json=json,
    )


@app.command(
    epilog="Example: `gcvit verify photos.tflite --against run --data photos`"
)
def verify(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACT",
            help="A .tflite or .onnx file, or a SavedModel folder.",
        ),
    ],
    against: Annotated[
        Path,
        typer.Option(help="The .keras file that it came from, or the run."),
    ],
    data: ExportData = None,
    split: VerifySplit = None,
    data_dir: DataDir = None,
    json: Json = False,
):
    """Check that an export computes what its model does."""
    from gcvit_cli.export import Source, verify

    verify(artifact, against, Source(data, data_dir, split), json)


@app.command(
    epilog="Example: `gcvit explain cat.jpg --model run --out report.html`"
)
def explain(
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
    labels: WeightsLabels = None,
    crop: Annotated[
        float | None,
        typer.Option(
            help="Share of the shorter side that is seen. Default: a run's "
            "own or the published one, else 1."
        ),
    ] = None,
):
    """Show what a model looks at in an image, on one page.

    The image, the best classes, Grad-CAM of each, and the global attention of
    each level by head.
    """
    from gcvit_cli.explain import run

    run(
        image=image,
        model=model,
        variant=variant.value if variant else None,
        weights=weights,
        out=out,
        labels=labels,
        crop=crop,
    )


def main():
    """Runs the command; errors of the user's are one line and exit code 1."""
    # Training and export are TensorFlow's; its own words stay off the screen.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow turns oneDNN on by itself only where the processor has
    # instructions for neural networks, such as AVX512_VNNI. For one with AVX2
    # TF_ENABLE_ONEDNN_OPTS=0 before benchmarks/train.py shows what it does.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # XLA's loops on a CPU; by itself it uses half of AVX512's registers.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512")
    if not sys.warnoptions:  # python -W and PYTHONWARNINGS ask for them
        warnings.simplefilter("ignore")
    # An exception, so that what is half written is removed.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(stop, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except (ValueError, OSError) as error:
        error_line(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
