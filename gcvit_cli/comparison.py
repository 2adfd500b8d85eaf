"""What `gcvit export` and `gcvit verify` compare on, and their table."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gcvit_cli.console import UsageError, console
from gcvit_cli.dataset import open_split, reader_for, run_data

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

    def check_kind(self, served):
        """Refuses a dataset of classes where the model has none.

        Args:
            served: `gcvit_export.kinds.base.Served`.
        """
        if self.data is not None and not served.has_classes:
            raise UsageError("--data does not go with a detector")

    def verification(self, path, model):
        """Reads the images to compare on.

        Args:
            path: Path of the model, beside which its run may be.
            model: `keras.Model`.

        Returns:
            Float32 array `(images, height, width, 3)`, or `None`.
        """
        if self.data is None:
            return None
        split = "test" if self.split is None else self.split
        return self._read(split, VERIFIED, "--split", path, model)

    def calibration(self, path, model):
        """Reads the images to calibrate on: see `verification`."""
        split = self.calibration_split
        split = "train" if split is None else split
        return self._read(
            split, CALIBRATION, "--calibration-split", path, model
        )

    def _read(self, split, count, option, path, model):
        import numpy as np

        from gcvit_training.tasks.classification.sources import Sample

        run = run_data(path)
        source, batches = open_split(
            self.data,
            self.data_dir,
            split,
            reader_for(path, model.input_shape[1:]),
            batch_size=32,
            option=option,
            holdout=run and run.holdout,  # the run's own test images
        )
        kept = [
            images[weights > 0]
            for images, _, weights in batches(
                Sample(source, count)
            ).as_numpy_iterator()
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
        "boxes that match": None,
        "logits, signal to noise": f"{found['snr_db']:.1f} dB",
        "one image": f"{found['milliseconds']:.1f} ms",
        "size": f"{found['size'] / 1e6:.1f} MB",
    }
    if found["detections"] is not None:
        rows["same top class"] = rows["logits, signal to noise"] = None
        rows["boxes that match"] = (
            f"{found['agreement']:.1%} of {found['detections']}"
        )
    for name, text in rows.items():
        if text is not None:
            table.add_row(name, text)
    console.print(table)
