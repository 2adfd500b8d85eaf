"""Compares a detector's signatures of files with the model's `detect`."""

import io

import numpy as np
from PIL import Image

from gcvit_export import runner
from gcvit_export.comparison import VerificationError
from gcvit_export.kinds.classifier import artifact_labels
from gcvit_export.kinds.matching import check_detections
from gcvit_keras.detection.masks import paste_masks_numpy


def check_file_signatures(artifact, seen, expected, model):
    """Compares both signatures of files, which differ in their masks.

    `expected` is what `detect` gives of the files. For the other arguments and
    errors see `Served.check`.
    """
    most = model.max_detections
    for one in expected:
        one["is_full"] = len(one["scores"]) == most
    labels = artifact_labels(artifact, model.num_classes)
    for signature, whole_masks in (
        (runner.FILES, _pasted),
        (runner.MASKS, _decoded),
    ):
        prefix = f"{signature}/"
        found = {
            key.removeprefix(prefix): value
            for key, value in seen.items()
            if key.startswith(prefix)
        }
        title = f": {signature}"
        if not found["valid"].all():
            raise VerificationError(f"{artifact.name}{title} reads no PNG")
        rows = rows_of(found)
        for one in rows:
            one["masks"] = whole_masks(one)
            names = [labels[k] for k in one["classes"]]
            if one["labels"].tolist() != names:
                raise VerificationError(
                    f"{artifact.name}{title} gives classes "
                    f"{one['classes'].tolist()} the names "
                    f"{one['labels'].tolist()}, where labels.txt has "
                    f"{names}"
                )
        check_detections(artifact, title, rows, expected, model.score_threshold)


def rows_of(outputs) -> list:
    """Splits arrays of outputs into a dict per image, of its real rows."""
    return [
        {
            "is_full": count == len(outputs["scores"][i]),
            **{
                name: value[i]
                if value.ndim < 2 or name == "sizes"
                else value[i, :count]
                for name, value in outputs.items()
            },
        }
        for i, count in enumerate(outputs["count"])
    ]


def _pasted(one):
    """Masks in the image, of probabilities over boxes."""
    return paste_masks_numpy(one["masks"], one["boxes"], *one["sizes"])


def _decoded(one):
    """Masks in the image, of PNG files."""
    masks = [
        np.asarray(Image.open(io.BytesIO(content))) >= 128
        for content in one["mask_png_bytes"]
    ]
    return np.array(masks).reshape(-1, *one["sizes"])
