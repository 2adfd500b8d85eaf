"""What `gcvit export` and `gcvit verify` compare on, and their table."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gcvit_cli.artifacts import reading_settings
from gcvit_cli.console import UsageError, console

CALIBRATION = 200
"""Images that int8's ranges are found from."""
VERIFIED = 500
"""Images of a dataset that an artifact is compared on, at most."""


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
            raise UsageError("--data is empty")
        for option, value in (
            ("--split", self.split),
            ("--data-dir", self.data_dir),
            ("--calibration-split", self.calibration_split),
        ):
            if value is not None and self.data is None:
                raise UsageError(f"{option} goes with --data only")
        if self.calibration_split is not None and not calibrates:
            raise UsageError(
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
        import numpy as np
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


def print_verification(found):
    """Prints a `Verification`, given as a dict, as a table."""
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
