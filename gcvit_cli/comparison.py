"""`gcvit export` and `gcvit verify`."""

import contextlib
import json as json_module
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from gcvit_cli.artifacts import (
    find_labels,
    load_keras,
    model_file,
    reading_settings,
    run_settings,
)
from gcvit_cli.console import console, import_tensorflow, quietly

CALIBRATION = 200
"""Images that int8's ranges are found from."""
VERIFIED = 500
"""Images of a dataset that an artefact is compared on, at most."""


def export(
    model,
    out,
    format,
    quantize,
    input_dtype,
    name,
    labels,
    reading,
    dynamic_size,
    source,
    json,
):
    """Exports a model, and prints how far it is from what it came from.

    Args:
        model: Path of a `.keras` file, or folder of a run.
        out: Path to write.
        format: `savedmodel`, `litert`, `serving` or `onnx`.
        quantize: `float16`, `dynamic`, `int8`, or `None`.
        input_dtype: Of LiteRT's pixels, or `None`.
        name: What a server calls the model, or `None`.
        labels: Path of the class names, `imagenet`, or `None`.
        reading: `crop_ratio`, `crop_mode`, `interpolation`, `max_pixels` and
            `image_size` of `serve_bytes`; `None` for the default.
        dynamic_size: Whether a SavedModel takes any size.
        source: `Source` of the images to calibrate and verify on.
        json: Whether to print JSON.

    Raises:
        ValueError: If an option does not go with the format, the model or
            the data cannot be used, or the export fails.
    """
    _check_options(
        format,
        quantize,
        input_dtype,
        name,
        labels,
        reading,
        dynamic_size,
        source,
    )
    import_tensorflow()
    import gcvit_export

    model = model_file(model)
    settings = run_settings(model)
    with quietly():
        network = load_keras(model)
    if format != "onnx":
        labels = find_labels(labels, model, network.output_shape[-1])
    how = {"images": source.verification(network, settings)}
    if format in ("savedmodel", "serving"):
        given = {k: v for k, v in reading.items() if v is not None}
        how |= {**reading_settings(settings), **given, "labels": labels}
        how["dynamic_size"] = dynamic_size
    if format == "serving":
        how["name"] = name
    if format == "litert":
        how |= {"quantize": quantize, "labels": labels}
        how["input_dtype"] = input_dtype or "float32"
        if quantize == "int8":
            how["calibration"] = source.calibration(network, settings)
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
        result = {"artifact": str(path), **found}
        print(json_module.dumps(result, indent=2))
        return
    console.print(f"Wrote {path}", soft_wrap=True)
    _print(found)
    if format == "serving":
        folder = shlex.quote(str(out))
        console.print(f"Serve it: cd {folder} && docker compose up")


def verify(artifact, against, source, json):
    """Compares an artefact with the model it came from, and prints how far.

    Args:
        artifact: Path of a SavedModel, a LiteRT or an ONNX file.
        against: Path of the `.keras` file, or folder of a run.
        source: `Source` of the images.
        json: Whether to print JSON.

    Raises:
        ValueError: If they differ by more than is allowed, or cannot be
            opened.
    """
    source.check(calibrates=False)
    import_tensorflow()
    import gcvit_export

    against = model_file(against)
    with quietly():
        model = load_keras(against)
        images = source.verification(model, run_settings(against))
        found = gcvit_export.verify(artifact, model, images).as_dict()
    if json:
        print(json_module.dumps({"artifact": str(artifact), **found}, indent=2))
    else:
        _print(found)


@dataclass(frozen=True)
class Source:
    """Images of a dataset, as a model is evaluated on them.

    Attributes:
        data: As `data.dataset` of a run, or `None` for none.
        data_dir: Folder of TFDS's datasets, or `None`.
        split: Split to verify on, or `None` for `test`.
        calibration_split: Split to calibrate on, or `None` for `train`.
    """

    data: str | None
    data_dir: Path | None
    split: str | None
    calibration_split: str | None = None

    def check(self, calibrates):
        """Refuses options that are of no use.

        Args:
            calibrates: Whether there is something to calibrate.
        """
        if self.data == "":
            raise ValueError("--data is empty")
        for option, value in (
            ("--split", self.split),
            ("--data-dir", self.data_dir),
            ("--calibration-split", self.calibration_split),
        ):
            if value is not None and self.data is None:
                raise ValueError(f"{option} goes with --data only")
        if self.calibration_split is not None and not calibrates:
            raise ValueError(
                "--calibration-split goes with --quantize int8 only"
            )

    def verification(self, model, settings):
        """Float32 array `(images, height, width, 3)`, or `None`."""
        if self.data is None:
            return None
        split = "test" if self.split is None else self.split
        return self._read(split, VERIFIED, "--split", model, settings)

    def calibration(self, model, settings):
        """Float32 array `(images, height, width, 3)`."""
        split = self.calibration_split
        split = "train" if split is None else split
        return self._read(
            split, CALIBRATION, "--calibration-split", model, settings
        )

    def _read(self, split, count, option, model, settings):
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        from gcvit_training.config import DataConfig
        from gcvit_training.data import evaluation_batches
        from gcvit_training.sources import Sample, check_split, open_source

        height, width, channels = model.input_shape[1:]
        if channels != 3 or height != width or height is None:
            raise ValueError(
                "--data needs a model of square RGB images. Received one of "
                f"{model.input_shape[1:]}"
            )
        how = {"crop_ratio": 1.0, "crop_mode": "center"}
        how |= {"interpolation": "bicubic"}
        how |= reading_settings(settings)
        if settings.get("holdout") is not None:  # the run's own test images
            how["holdout"] = settings["holdout"]
        config = DataConfig(
            dataset=self.data, image_size=height, batch_size=32, **how
        )
        with contextlib.redirect_stdout(sys.stderr):  # --json has the other
            source = open_source(self.data, self.data_dir, config.holdout)
        check_split(source, split, option)
        sample = Sample(source, count)
        batches = evaluation_batches(sample, split, config, config.batch_size)
        kept = [
            images[weights > 0]
            for images, _, weights in batches.as_numpy_iterator()
        ]
        if not sum(map(len, kept)):
            raise ValueError(f"{self.data} has no readable images in {split}")
        return np.concatenate(kept)


def _check_options(
    format, quantize, input_dtype, name, labels, reading, dynamic_size, source
):
    """Options that the format has no use for are errors."""
    served = format in ("savedmodel", "serving")
    wrong = {
        "--quantize": quantize is not None and format != "litert",
        "--input-dtype": input_dtype is not None and format != "litert",
        "--name": name is not None and format != "serving",
        "--labels": labels is not None and format == "onnx",
        "--dynamic-size": dynamic_size and not served,
        **{
            f"--{key.replace('_', '-')}": value is not None and not served
            for key, value in reading.items()
        },
    }
    for option, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(f"{option} does not go with --format {format}")
    source.check(calibrates=quantize == "int8")
    if quantize == "int8" and source.data is None:
        raise ValueError(
            "--quantize int8 needs --data, images that the model will see"
        )


def _print(found):
    table = Table(show_header=False)
    rows = {
        "kind": found["kind"],
        "images compared": str(found["images"]),
        "largest difference": f"{found['difference']:.1e}",
        "allowed": "-"
        if found["tolerance"] is None
        else f"{found['tolerance']:.0e}",
        "same top class": f"{found['agreement']:.1%}",
        "logits, signal to noise": f"{found['snr_db']:.1f} dB",
        "one image": f"{found['milliseconds']:.1f} ms",
        "size": f"{found['size'] / 1e6:.1f} MB",
    }
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
