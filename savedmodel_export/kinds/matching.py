"""Compares detections: by boxes that match, not by their order.

Scores that are nearly the same may change places, and of what is close to a
limit either side may be right.
"""

import numpy as np

from gcvit_export.comparison import (
    BEST_SNR,
    TOLERANCE,
    Comparison,
    VerificationError,
)
from gcvit_keras.detection.boxes import box_iou

LEAST_IOU = 0.95
"""Overlap of boxes that are the same one."""
LEAST_MATCHED = 0.95
"""Least share of detections that the other side has, too."""
LEAST_MASK_IOU = 0.9
"""Least overlap of masks in the image, on average."""


def check_detections(artifact, title, found, expected, threshold):
    """Refuses detections that are not those of the model.

    Args:
        artifact: `gcvit_export.comparison.Seen`.
        title: What they are of, a string for errors.
        found: List of a dict per image: `"boxes"` `(n, 4)`, `"scores"`,
            `"classes"` `(n,)`, and `"masks"`: probabilities `(n, 28, 28)` or
            booleans `(n, height, width)`.
        expected: List of such dicts.
        threshold: Score that a detection has to exceed.

    Returns:
        `Comparison`: the largest difference of a score or of a probability of
        a mask, and the share that has a match.

    Raises:
        VerificationError: If too few match, or one differs by more than is
            allowed.
    """
    tolerance = TOLERANCE[artifact.kind]
    matched = wanted = 0
    differences, overlaps = [0.0], []
    for one, other in zip(found, expected, strict=True):
        pairs = matches(one, other)
        certain = [_certain(x, threshold, tolerance) for x in (one, other)]
        for side, must in enumerate(certain):
            wanted += must.sum()
            matched += must[[pair[side] for pair in pairs]].sum()
        for i, j in pairs:
            differences.append(abs(one["scores"][i] - other["scores"][j]))
            masks = one["masks"][i], other["masks"][j]
            if masks[0].dtype == bool:
                overlaps.append(_mask_iou(*masks))
            else:
                differences.append(np.abs(masks[0] - masks[1]).max())
    share = float(matched / wanted) if wanted else 1.0
    difference = float(np.max(differences))
    name = f"{artifact.name}{title}"
    if not share >= LEAST_MATCHED:
        raise VerificationError(
            f"{name} has {share:.1%} of its detections in common with the "
            f"model, less than the {LEAST_MATCHED:.0%} asked of {artifact.kind}"
        )
    if not difference <= tolerance:
        raise VerificationError(
            f"{name} differs from the model by {difference:.1e} in scores or "
            f"masks, more than the {tolerance:.0e} allowed for {artifact.kind}"
        )
    if overlaps and not np.mean(overlaps) >= LEAST_MASK_IOU:
        raise VerificationError(
            f"{name} has masks that overlap the model's by "
            f"{np.mean(overlaps):.1%} on average, less than the "
            f"{LEAST_MASK_IOU:.0%} asked of {artifact.kind}"
        )
    return Comparison(difference, share, BEST_SNR, detections=int(wanted))


def matches(found, expected) -> list:
    """Pairs detections of one class whose boxes are the same.

    Both are dicts of `"boxes"` `(n, 4)` and `"classes"` `(n,)`. Returns pairs
    of rows, of `found` and of `expected`; each row is in one at most.
    """
    overlaps = box_iou(found["boxes"], expected["boxes"])
    same = found["classes"][:, None] == expected["classes"][None]
    overlaps = np.where(same, overlaps, 0)
    pairs = []
    while overlaps.size and overlaps.max() >= LEAST_IOU:
        i, j = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((i, j))
        overlaps[i], overlaps[:, j] = 0, 0
    return pairs


def _certain(detections, threshold, tolerance):
    """Tells which rows the other side must have: none close to a limit."""
    scores = detections["scores"]
    least = threshold
    if detections.get("is_full") and len(scores):
        least = max(least, scores.min())
    return scores > least + tolerance


def _mask_iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 1.0
