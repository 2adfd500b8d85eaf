"""What `gcvit export` and `gcvit verify` compare on, and their table."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gcvit_cli.console import UsageError, console
from gcvit_cli.dataset import open_source, reader_for
from gcvit_cli.predictors import kind_of

CALIBRATION = 200
"""Images that int8's ranges are found from."""
VERIFIED = 500
"""Images of a dataset that an artifact is compared on, at most."""
CALIBRATION_OF_PIXELS, VERIFIED_OF_PIXELS = 50, 20
"""The same for a segmenter, whose images and outputs are large."""


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
        """Refuses options of no use; `calibrates` is whether anything does."""
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
        """Refuses a dataset where a `Served` cannot be compared on one."""
        if self.data is not None and not served.takes_data:
            raise UsageError(f"--data does not go with a {served.kind}")

    def verification(self, path, model, size):
        """Reads the images to compare on.

        Args:
            path: Path of the model, beside which its run may be.
            model: `keras.Model`.
            size: `(height, width)` that a segmenter's images are stretched to.

        Returns:
            Float32 array `(images, height, width, channels)`, or `None`.
        """
        if self.data is None:
            return None
        split = "test" if self.split is None else self.split
        counts = VERIFIED, VERIFIED_OF_PIXELS
        return self._read(split, counts, "--split", path, model, size)

    def calibration(self, path, model, size):
        """Reads the images to calibrate on: see `verification`."""
        split = self.calibration_split
        split = "train" if split is None else split
        counts = CALIBRATION, CALIBRATION_OF_PIXELS
        return self._read(
            split, counts, "--calibration-split", path, model, size
        )

    def _read(self, split, counts, option, path, model, size):
        import numpy as np
        import tensorflow as tf

        from gcvit_training import read_config
        from gcvit_training.data import evaluation_batches
        from gcvit_training.tasks import find_task
        from gcvit_training.tasks.classification.sources import Sample

        run = path.parent / "config.yaml"
        config = None
        if run.is_file():  # it says which images are its `test`
            config = read_config(run)
        kind = find_task(kind_of(model).task if config is None else config.task)
        reader = None
        if kind.reads_one_size:
            reader = reader_for(path, model.input_shape[1:])
        config = kind.to_evaluate(
            config,
            path,
            reader,
            dataset=self.data,
            train_split=split,  # no other has to be there
            evaluation_split=split,
            batch_size=1,  # a segmenter's images differ in size
        )
        source = open_source(kind, config, self.data_dir, option)
        count = counts[0] if kind.reads_one_size else counts[1]
        batches = evaluation_batches(kind(config, Sample(source, count)))
        kept = []
        for inputs, _, (weight,) in batches:
            if not weight:
                continue
            if not kind.reads_one_size:
                inputs = tf.image.resize(inputs["images"], size, antialias=True)
            kept.append(inputs[0].numpy())
        if not kept:
            raise ValueError(f"{self.data} has no readable images in {split}")
        return np.stack(kept)


def served_size(served, shape):
    """Chooses the size of the images that a `Served`, or its export, is given.

    In `shape`, of one image, `None` stands where any size goes.
    """
    usual = served.checked_size(None)
    return tuple(own or side for own, side in zip(shape, usual, strict=False))


def print_verification(report):
    """Prints a `Verification`, given as a dict, as a table."""
    table = Table(show_header=False)
    rows = {
        "kind": report["kind"],
        "images compared": str(report["images"]),
        "largest difference": f"{report['difference']:.1e}",
        "allowed": "-"
        if report["tolerance"] is None
        else f"{report['tolerance']:.0e}",
        "same top class": f"{report['agreement']:.1%}",
        "boxes that match": None,
        "logits, signal to noise": f"{report['snr_db']:.1f} dB",
        "one image": f"{report['milliseconds']:.1f} ms",
        "size": f"{report['size'] / 1e6:.1f} MB",
    }
    if report["detections"] is not None:
        rows["same top class"] = rows["logits, signal to noise"] = None
        rows["boxes that match"] = (
            f"{report['agreement']:.1%} of {report['detections']}"
        )
    for name, text in rows.items():
        if text is not None:
            table.add_row(name, text)
    console.print(table)
