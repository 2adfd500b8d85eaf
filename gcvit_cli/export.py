"""`gcvit export`."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import (
    find_labels,
    load_compiled,
    model_file,
)
from gcvit_cli.comparison import Source, print_verification, served_size
from gcvit_cli.console import (
    UsageError,
    console,
    import_tensorflow,
    named_options,
    print_json,
    quietly,
)
from gcvit_cli.options import (
    Activation,
    ActivationName,
    CropRatio,
    Data,
    DataDir,
    Json,
    Labels,
    Split,
)

EXAMPLE = (
    "gcvit export run --format litert --quantize int8 --data photos "
    "--out photos.tflite"
)
Format = StrEnum("Format", "savedmodel litert serving onnx")
Quantize = StrEnum("Quantize", "float16 dynamic int8")
PixelType = StrEnum("PixelType", "float32 uint8")
Signature = StrEnum("Signature", "serve_images serve_bytes")


def command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A .keras file, or the folder of a run."
        ),
    ],
    format: Annotated[
        Format,
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
    activation: Activation = ActivationName.auto,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="savedmodel, serving: side of the images that files become, "
            "of a detector the shorter one. Default: the model's; needed "
            "where that is any.",
        ),
    ] = None,
    input_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH",
            help="litert, onnx: size of the images of a detector, or of a "
            "segmenter of any size.",
        ),
    ] = None,
    crop_ratio: CropRatio = None,
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
    default_signature: Annotated[
        Signature,
        typer.Option(
            help="savedmodel, serving: what is called where nothing is named. "
            "Vertex AI and SageMaker call no other."
        ),
    ] = Signature.serve_images,
    data: Data = None,
    split: Split = None,
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

    If the export does not compute what the model does, nothing is written.
    """
    source = Source(data, data_dir, split, calibration_split)
    is_served = format in (Format.savedmodel, Format.serving)
    misplaced = {
        "--quantize": quantize and format != Format.litert,
        "--input-dtype": input_dtype and format != Format.litert,
        "--name": name is not None and format != Format.serving,
        "--default-signature": not is_served
        and default_signature != Signature.serve_images,
        "--image-size": image_size and not is_served,
        "--input-size": input_size and is_served,
        "--dynamic-size": dynamic_size and not is_served,
        "--crop-ratio": crop_ratio and not is_served,
        "--max-pixels": max_pixels and not is_served,
    }
    for option, is_misplaced in misplaced.items():
        if is_misplaced:
            raise UsageError(f"{option} does not go with --format {format}")
    source.check(calibrates=quantize == Quantize.int8)
    if quantize == Quantize.int8 and data is None:
        raise UsageError(
            "--quantize int8 needs --data, images that the model will see"
        )
    import_tensorflow()
    import gcvit_export
    from gcvit_export.served import served

    model = model_file(model)
    with quietly():
        network = load_compiled(model)
    activation = None if activation == "none" else activation.value
    kind = served(network, activation)
    if quantize and quantize.value not in kind.quantize:
        raise UsageError(f"--quantize does not go with a {kind.kind}")
    source.check_kind(kind)
    reading = (image_size, crop_ratio, max_pixels)
    if not is_served:
        with named_options({"image_size": "--input-size"}):
            kind = kind.at_size(input_size, str(format))
    elif kind.no_files and any(reading):
        raise UsageError(
            "--image-size, --crop-ratio and --max-pixels are of no use: "
            f"{kind.no_files}"
        )
    if kind.classes is not None:
        labels = find_labels(labels, model, kind.classes)
        labels = labels and labels[-kind.classes :]
    size = served_size(kind, kind.shape)
    how = {
        "images": source.verification(model, network, size),
        "activation": activation,
        "labels": labels,
    }
    if not (is_served and kind.no_files):
        how["image_reader"] = kind.saved_reader(model, *reading)
    if input_size is not None:
        how["image_size"] = input_size
    if is_served:
        how["dynamic_size"] = dynamic_size
        how["default_signature"] = default_signature.value
    if format == "serving":
        how["name"] = name
    if format == "litert":
        how["quantize"] = quantize and quantize.value
        how["input_dtype"] = input_dtype.value if input_dtype else "float32"
        if quantize == "int8":
            how["calibration"] = source.calibration(model, network, size)
    write = {
        "savedmodel": gcvit_export.export_saved_model,
        "serving": gcvit_export.export_serving,
        "litert": gcvit_export.export_litert,
        "onnx": gcvit_export.export_onnx,
    }
    try:
        with quietly():
            path = write[format](network, out, **how)
    except OSError as error:
        place = str(error.filename or out)  # may be of temporary files
        where = "" if place.startswith(str(out)) else f" ({place})"
        raise ValueError(
            f"--out cannot be written: {out}: {error.strerror or error}{where}"
        ) from error
    report = path.verification.as_dict()
    if json:
        print_json({"artifact": str(path), **report})
        return
    console.print(f"Wrote {path}", soft_wrap=True)
    print_verification(report)
    if format == "serving":
        folder = shlex.quote(str(out))
        console.print(f"Serve it: cd {folder} && docker compose up")
