"""How far an artifact's outputs are from its model's, and what is allowed."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TOLERANCE = {
    "savedmodel": 1e-5,
    "litert float32": 1e-4,
    "litert float16": 1e-2,
    "onnx": 1e-4,
    "savedmodel detections": 1e-3,
    "litert float32 detections": 1e-2,
    "onnx detections": 1e-2,
}
"""Largest allowed difference of a probability, by kind of artifact."""
PROBABILITIES = ("softmax", "sigmoid")
"""Meanings of outputs that are probabilities."""
LEAST_VALUE_TOLERANCE = 1e-4
"""Least tolerance of values that are no probabilities, as a share of the
largest of them."""
LEAST_AGREEMENT = 0.97
"""Least share of the user's images, of a segmenter of their places, with the
model's top class, for int8."""
LEAST_SNR = 10.0
"""Least signal-to-noise ratio for int8, in dB."""
BEST_SNR = 300.0
"""Ratio of outputs that are the same, in dB; JSON knows no infinity."""


class VerificationError(ValueError):
    """An artifact does not compute what its model does."""


@dataclass(frozen=True)
class Seen:
    """An artifact that was run.

    Attributes:
        name: What errors call it, a string.
        path: Path of the very artifact.
        kind: See `Verification`.
    """

    name: str
    path: Path
    kind: str


@dataclass(frozen=True)
class Comparison:
    """How far outputs are from what they should be.

    Attributes:
        difference: Largest difference of a probability; of other values as a
            share of the largest of them.
        agreement: Share of images, of a segmenter of places, with the model's
            top class, or of labels on the model's side of 0.5; 1 for values.
        snr_db: Signal-to-noise ratio over all images, in dB: of the logits
            where there are probabilities (the logarithms less their mean over
            the classes, or log(p / (1 - p)) of each), else of the values.
        detections: Number of detections that were compared, or `None` where
            there are none to compare.
    """

    difference: float
    agreement: float
    snr_db: float
    detections: int | None = field(default=None, kw_only=True)


def compared(
    name, kind, values, expected, meaning, users_images=False
) -> Comparison:
    """Compares an output with what it should be.

    Args:
        name: What an error calls the output, a string.
        kind: Kind of the artifact, see `Verification`.
        values: Array `(images, ...)`; `None` where there is none.
        expected: Array.
        meaning: `"softmax"` or `"sigmoid"` for probabilities, `"logits"` for
            a logit per class, `None` for other values.
        users_images: Whether the images are the user's. On photographs of
            something else the classes may be a toss-up.

    Returns:
        A `Comparison`.

    Raises:
        VerificationError: If the shape is another, or the output differs by
            more than is allowed.
    """
    shape = getattr(values, "shape", "none")
    if shape != expected.shape:
        raise VerificationError(
            f"{name} gives values of shape {shape}, the model {expected.shape}"
        )
    values, expected = (np.asarray(x, "float64") for x in (values, expected))
    difference = np.abs(values - expected).max()
    agree = np.ones(1)
    if meaning == "sigmoid":
        agree = (values > 0.5) == (expected > 0.5)
    elif meaning is not None:
        agree = values.argmax(-1) == expected.argmax(-1)
    if meaning in PROBABILITIES:
        values, expected = (_logits(x, meaning) for x in (values, expected))
    else:
        difference = difference / max(np.abs(expected).max(), 1e-30)
    comparison = Comparison(
        float(difference), float(agree.mean()), _snr(values, expected)
    )
    _check_allowed(name, kind, comparison, meaning, users_images)
    return comparison


def _logits(scores, meaning):
    logits = np.log(np.maximum(scores, 1e-12))
    if meaning == "sigmoid":
        return logits - np.log(np.maximum(1 - scores, 1e-12))
    return logits - logits.mean(-1, keepdims=True)


def _snr(values, expected):
    noise = ((expected - values) ** 2).sum()
    if noise == 0:
        return BEST_SNR
    # Values that are all zero have no signal.
    power = max((expected**2).sum(), 1e-30)
    return min(float(10 * np.log10(power / noise)), BEST_SNR)


def _check_allowed(name, kind, comparison, meaning, users_images):
    # Negated comparisons, so that NaN fails.
    tolerance = TOLERANCE.get(kind)
    if tolerance is not None:
        is_value = meaning not in PROBABILITIES
        if is_value:
            tolerance = max(tolerance, LEAST_VALUE_TOLERANCE)
        if not comparison.difference <= tolerance:
            share = " of the largest value" * is_value
            raise VerificationError(
                f"{name} differs from the model by "
                f"{comparison.difference:.1e}{share}, more than the "
                f"{tolerance:.0e} allowed for {kind}"
            )
    elif not comparison.snr_db >= LEAST_SNR:
        raise VerificationError(
            f"{name} has a signal-to-noise ratio of {comparison.snr_db:.1f} "
            f"dB, less than the {LEAST_SNR:.0f} asked of {kind}"
        )
    elif users_images and not comparison.agreement >= LEAST_AGREEMENT:
        raise VerificationError(
            f"{name} has the model's top class on "
            f"{comparison.agreement:.1%} of what it classifies, less than the "
            f"{LEAST_AGREEMENT:.0%} asked of {kind}"
        )
