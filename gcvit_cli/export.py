"""`gcvit export`."""

import json as json_module
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gcvit_cli.artifacts import (
    find_labels,
    load_keras,
    model_file,
    reader_of,
)
from gcvit_cli.comparison import Source, print_verification
from gcvit_cli.console import (
    UsageError,
    console,
    import_tensorflow,
    print_json,
    quietly,
)
from gcvit_cli.options import CropRatio, Data, DataDir, Json, Labels, Split

EXAMPLE = (
    "gcvit export run --format litert --quantize int8 --data photos "
    "--out photos.tflite"
)
Format = StrEnum("Format", "savedmodel litert serving onnx")
Quantize = StrEnum("Quantize", "float16 dynamic int8")
PixelType = StrEnum("PixelType", "float32 uint8")


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

    What computes something else than the model is not written.
    """
    source = Source(data, data_dir, split, calibration_split)
    served = format in (Format.savedmodel, Format.serving)
    _check_options(
        format,
        {
            "--quantize": quantize and format != Format.litert,
            "--input-dtype": input_dtype and format != Format.litert,
            "--name": name is not None and format != Format.serving,
            "--labels": labels and format == Format.onnx,
            "--dynamic-size": dynamic_size and not served,
            "--crop-ratio": crop_ratio and not served,
            "--max-pixels": max_pixels and not served,
        },
    )
    source.check(calibrates=quantize == Quantize.int8)
    if quantize == Quantize.int8 and data is None:
        raise UsageError(
            "--quantize int8 needs --data, images that the model will see"
        )
    import_tensorflow()
    import gcvit_export

    model = model_file(model)
    with quietly():
        network = load_keras(model)
    if format != "onnx":
        labels = find_labels(labels, model, network.output_shape[-1])
    how = {"images": source.verification(model, network)}
    if served:
        reader = reader_of(model)
        if reader is not None:
            how |= {"crop_mode": reader.crop_mode}
            how |= {"interpolation": reader.interpolation}
            crop_ratio = crop_ratio or reader.crop_ratio
        if crop_ratio is not None:
            how["crop_ratio"] = crop_ratio
        if max_pixels is not None:
            how["max_pixels"] = max_pixels
        how["labels"] = labels
        how["dynamic_size"] = dynamic_size
    if format == "serving":
        how["name"] = name
    if format == "litert":
        how |= {"quantize": quantize, "labels": labels}
        how["input_dtype"] = input_dtype or "float32"
        if quantize == "int8":
            how["calibration"] = source.calibration(model, network)
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
    report = path / "verification.json"
    if path.is_file():
        report = path.with_name(f"{path.name}.verification.json")
    found = json_module.loads(report.read_text())
    if json:
        print_json({"artifact": str(path), **found})
        return
    console.print(f"Wrote {path}", soft_wrap=True)
    print_verification(found)
    if format == "serving":
        folder = shlex.quote(str(out))
        console.print(f"Serve it: cd {folder} && docker compose up")


def _check_options(format, misplaced):
    """Options that the format has no use for are errors.

    Args:
        format: The format.
        misplaced: For each option, whether it is given and of no use.
    """
    for option, is_misplaced in misplaced.items():
        if is_misplaced:
            raise UsageError(f"{option} does not go with --format {format}")
