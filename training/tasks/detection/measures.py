"""COCO's measures, and what is taken for what."""

import copy

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core import mask as coco_mask
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

MEASURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""COCO's twelve, in the order of its tools. Small objects are of up to 32 x 32
pixels of the files, medium ones of up to 96 x 96; `ar10` is the recall of 10
detections per image."""
CONFIDENT = 0.3
"""Least score of a detection that counts as a confusion."""
OVERLAP = 0.5
"""Least overlap of a detection with the object that it is of."""
WORST = 12
"""Images with most mistakes that a report names, at most."""


def average_precision(truth, detections, kind):
    """Computes average precision and recall, as COCO does.

    Args:
        truth: COCO's JSON of the objects, a dict.
        detections: List of COCO's results.
        kind: `"bbox"` or `"segm"`.

    Returns:
        Dict of the twelve measures, `None` where there are no objects; for
        each class a dict of its `"ap"` and `"ap50"`; and the curves: a dict of
        `"recall"` and, by overlap, of the mean precision of the classes.
    """
    objects = COCO(copy.deepcopy(truth))
    results = objects.loadRes(copy.deepcopy(of_kind(detections, kind)))
    evaluation = COCOeval_faster(
        objects, results, iouType=kind, print_function=lambda *_: None
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    measures = {
        name: None if value == -1 else float(value)
        for name, value in zip(MEASURES, evaluation.stats, strict=True)
    }
    # (overlaps, recalls, classes, areas, detections per image)
    precision = np.asarray(evaluation.eval["precision"])
    overlaps = evaluation.params.iouThrs
    at_50 = int(np.argmin(np.abs(overlaps - 0.5)))
    at_75 = int(np.argmin(np.abs(overlaps - 0.75)))
    per_class = [
        {
            "ap": _mean(precision[:, :, k, 0, -1]),
            "ap50": _mean(precision[at_50, :, k, 0, -1]),
        }
        for k in range(precision.shape[2])
    ]
    curves = {"recall": evaluation.params.recThrs.tolist()}
    for name, t in (("0.50", at_50), ("0.75", at_75)):
        of_classes = precision[t, :, :, 0, -1]
        known = (of_classes > -1).all(0)
        curves[name] = of_classes[:, known].mean(1).tolist()
    return measures, per_class, curves


def of_kind(detections, kind):
    """Leaves what the other kind of detections is measured by out.

    COCO's tools take a result with a box for one whose size is the box's, and
    one with a mask for one whose size is the mask's.

    Args:
        detections: List of COCO's results.
        kind: `"bbox"` or `"segm"`.

    Returns:
        List of dicts.
    """
    other = {"bbox": "segmentation", "segm": "bbox"}[kind]
    return [{k: v for k, v in d.items() if k != other} for d in detections]


def _mean(values):
    """The mean of what is known; -1 is not."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def confusions(items, detections, categories):
    """Counts which class confident detections are of, and which they say.

    Args:
        items: List of `Item`.
        detections: List of COCO's results of these images.
        categories: Number of each class in the dataset.

    Returns:
        Lists `(classes + 1, classes + 1)`: rows are true classes, columns what
        was said, the last ones no object and no detection; and the worst
        images, a list of dicts of `"image"`, `"missed"` and `"wrong"`.
    """
    labels = {category: k for k, category in enumerate(categories)}
    none = len(categories)
    matrix = np.zeros((none + 1, none + 1), "int64")
    of_image = {}
    for detection in detections:
        if detection["score"] >= CONFIDENT:
            of_image.setdefault(detection["image_id"], []).append(detection)
    worst = []
    for item in items:
        found = of_image.get(item.id, [])
        boxes = np.float64([d["bbox"] for d in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        said = np.array([labels[d["category_id"]] for d in found], int)
        pairs, missed, extra = _match(item, boxes, said)
        for i, j in pairs:
            matrix[item.classes[i], said[j]] += 1
        for i in missed:
            matrix[item.classes[i], none] += 1
        for j in extra:
            matrix[none, said[j]] += 1
        wrong = sum(item.classes[i] != said[j] for i, j in pairs) + len(extra)
        if wrong or missed:
            worst.append(
                {
                    "image": item.path,
                    "missed": len(missed),
                    "wrong": int(wrong),
                }
            )
    worst.sort(key=lambda w: -(w["missed"] + w["wrong"]))
    return matrix.tolist(), worst[:WORST]


def _match(item, boxes, said):
    """Pairs objects with detections, of the same class before of another.

    Returns:
        Pairs of indices, objects without a detection, and detections without
        an object; those within a crowd are left out.
    """
    overlaps = overlap(item.boxes, boxes)
    order = overlaps + (item.classes[:, None] == said[None])
    order[(overlaps < OVERLAP) | item.is_crowd[:, None]] = 0
    pairs = []
    while order.size and order.max() > 0:
        i, j = np.unravel_index(order.argmax(), order.shape)
        pairs.append((int(i), int(j)))
        order[i], order[:, j] = 0, 0
    seen = {i for i, _ in pairs}
    used = {j for _, j in pairs}
    missed = [
        i
        for i in range(len(item.boxes))
        if i not in seen and not item.is_crowd[i]
    ]
    crowds = item.boxes[item.is_crowd]
    within = overlap(boxes, crowds, np.ones(len(crowds))) > OVERLAP
    extra = [
        j for j in range(len(boxes)) if j not in used and not within[j].any()
    ]
    return pairs, missed, extra


def overlap(a, b, crowds=()):
    """Intersection over union of boxes `(n, 4)` and `(m, 4)`, `(n, m)`.

    Args:
        a: Boxes x1, y1, x2, y2.
        b: Likewise.
        crowds: Of each of `b` whether the area of `a` stands for the union.
    """
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    a, b = (np.float64(np.c_[x[:, :2], x[:, 2:] - x[:, :2]]) for x in (a, b))
    crowds = np.uint8(crowds if len(crowds) else np.zeros(len(b)))
    return np.asarray(coco_mask.iou(a, b, crowds))
