"""Average precision is COCO's, of our detections and of mmdet's alike."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcvit_training.run_folder import RunFolder
from gcvit_training.tasks.detection import DetectionEvaluator
from gcvit_training.tasks.detection.masks import encode
from gcvit_training.tasks.detection.report import page
from gcvit_training.tasks.detection.sources import Images, Item

DETECTION = Path(__file__).parent.parent / "detection"


def scene(seed=0, images=12, classes=3, with_masks=True):
    """Images with ellipses, and detections that are not quite right."""
    random = np.random.default_rng(seed)
    items, outputs, targets = [], [], []
    for number in range(images):
        size = tuple(int(s) for s in random.integers(60, 300, 2))
        n = int(random.integers(0, 6))
        boxes = some_boxes(random, n, size)
        masks = [draw(box, size) for box in boxes]
        item = Item(
            path=f"{number}.jpg",
            id=number + 10,
            size=size,
            boxes=boxes,
            classes=np.int32(random.integers(0, classes, n)),
            is_crowd=random.random(n) < 0.15,
            areas=np.float64([m.sum() for m in masks]),
            masks=[encode(m) for m in masks] if with_masks else None,
        )
        items.append(item)
        wrong = some_boxes(random, 3, size)
        moved = boxes + random.normal(0, 6, boxes.shape)
        found = np.concatenate([moved, wrong])
        found = np.clip(found, 0, [size[1], size[0]] * 2)
        scores = np.sort(np.round(random.random(len(found)), 3))[::-1]
        labels = np.concatenate([item.classes, random.integers(0, classes, 3)])
        labels[random.random(len(labels)) < 0.1] = 0
        scale = random.uniform(0.5, 2, 2)  # of height and width
        outputs.append(
            filled(found * [*scale[::-1], *scale[::-1]], scores, labels, random)
        )
        targets.append((number, np.float64(size) * scale))
    source = Images(
        tuple("abcdef"[:classes]),
        tuple(range(5, 5 + classes)),
        {"val": items},
        {},
        with_masks,
        {},
    )
    outputs = {k: np.stack([o[k] for o in outputs]) for k in outputs[0]}
    index, sizes = zip(*targets, strict=True)
    return source, outputs, {"index": np.array(index), "sizes": np.array(sizes)}


def some_boxes(random, n, size):
    middle = random.uniform(0.2, 0.8, (n, 2)) * size[::-1]
    half = random.uniform(0.04, 0.3, (n, 2)) * size[::-1]
    return np.clip(
        np.concatenate([middle - half, middle + half], 1), 0, [*size[::-1]] * 2
    )


def draw(box, size):
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    x1, y1, x2, y2 = box
    x, y = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    return x**2 + y**2 < 1


def filled(boxes, scores, labels, random, most=20):
    count = len(boxes)
    missing = most - count
    return {
        "boxes": np.pad(boxes, ((0, missing), (0, 0))),
        "scores": np.pad(scores, (0, missing)),
        "classes": np.pad(labels, (0, missing), constant_values=-1),
        "masks": random.random((most, 28, 28)) ** 0.3,
        "count": np.array(count),
    }


def evaluated(source, outputs, targets, weights=None):
    evaluator = DetectionEvaluator(source, "val")
    count = len(targets["index"])
    weights = np.ones(count) if weights is None else weights
    for row in range(0, count, 5):
        part = slice(row, row + 5)
        evaluator.update(
            {k: v[part] for k, v in outputs.items()},
            {k: v[part] for k, v in targets.items()},
            weights[part],
        )
    return evaluator, evaluator.result()


MEASURES = (
    "ap ap50 ap75 ap_small ap_medium ap_large ar1 ar10 ar100 ar_small "
    "ar_medium ar_large"
).split()
"""In the order of pycocotools."""


def by_pycocotools(folder, truth, kind):
    """All measures, and AP by class, from files as a user has them."""
    COCO = pytest.importorskip("pycocotools.coco").COCO
    COCOeval = pytest.importorskip("pycocotools.cocoeval").COCOeval
    for annotation in truth["annotations"]:
        rle = annotation.get("segmentation")
        if rle is not None and isinstance(rle["counts"], bytes):
            annotation["segmentation"] = {
                **rle,
                "counts": rle["counts"].decode(),
            }
    (folder / "truth.json").write_text(json.dumps(truth))
    objects = COCO(str(folder / "truth.json"))
    results = objects.loadRes(str(folder / f"detections.{kind}.json"))
    evaluation = COCOeval(objects, results, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    by_class = [p[p > -1].mean() for p in np.moveaxis(precision, 2, 0)]
    return evaluation.stats, by_class


def test_measures_are_those_of_pycocotools(tmp_path):
    evaluator, result = evaluated(*scene())
    page(result, evaluator.source.names, RunFolder(tmp_path), evaluator)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        stats, by_class = by_pycocotools(
            tmp_path, evaluator.ground_truth(), kind
        )
        for measure, expected in zip(MEASURES, stats, strict=True):
            value = result[name][measure]
            value = -1 if value is None else value
            assert value == pytest.approx(expected, abs=1e-6), (name, measure)
        found = [row[f"{name}_ap"] for row in result["per_class"]]
        assert found == pytest.approx(by_class, abs=1e-6)
        assert 0.05 < result[name]["ap"] < 0.95


@pytest.mark.parametrize("name", ["maskrcnn", "cascade"])
def test_our_detections_are_as_good_as_those_that_mmdet_made(name):
    sys.path.insert(0, str(DETECTION))
    try:
        import reference
    finally:
        sys.path.remove(str(DETECTION))
    ours = reference.Reference(name)
    items = []
    for i, size in enumerate(ours.sizes.tolist()):
        masks = ours.io[f"gt_masks_{i}"]
        items.append(
            Item(
                path=f"{i}.jpg",
                id=i + 1,
                size=tuple(size),
                boxes=np.float64(ours.io[f"gt_boxes_{i}"]),
                classes=np.int32(ours.io[f"gt_labels_{i}"]),
                is_crowd=np.zeros(len(masks), bool),
                areas=np.float64(masks.sum((1, 2))),
                masks=[encode(m) for m in masks],
            )
        )
    classes = tuple(range(ours.facts["classes"]))
    source = Images(
        tuple(map(str, classes)), classes, {"val": items}, {}, True, {}
    )
    outputs = {k: np.asarray(v) for k, v in ours.model()(ours.inputs()).items()}
    targets = {"index": np.arange(2), "sizes": ours.sizes}
    _, result = evaluated(source, outputs, targets)
    theirs = DetectionEvaluator(source, "val")
    theirs.items = items
    for i, item in enumerate(items):
        boxes = np.float64(ours.io[f"det_boxes_{i}"])
        masks = reference.unpack(ours.io[f"masks_input_{i}"], *item.size)
        for k, (x1, y1, x2, y2) in enumerate(boxes):
            theirs.detections.append(
                {
                    "image_id": item.id,
                    "category_id": int(ours.io[f"det_labels_{i}"][k]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(ours.io[f"det_scores_{i}"][k]),
                    "segmentation": encode(masks[k]),
                }
            )
    expected = theirs.result()
    assert result["detections"] == expected["detections"] > 50
    for kind in ("box", "mask"):
        assert result[kind] == pytest.approx(expected[kind], abs=1e-6)


def test_images_that_cannot_be_read_do_not_count():
    source, outputs, targets = scene(with_masks=False)
    outputs.pop("masks")
    weights = np.ones(12)
    weights[3] = 0
    _, result = evaluated(source, outputs, targets, weights)
    source.items["val"].pop(3)
    keep = np.arange(12) != 3
    kept = {k: v[keep] for k, v in outputs.items()}
    of_rest = {k: v[keep] for k, v in targets.items()}
    _, expected = evaluated(source, kept, of_rest)
    assert result["left_out"] == 1 and expected["left_out"] == 0
    assert result["box"] == expected["box"] and "mask" not in result


def test_nothing_detected_is_zero_and_no_objects_are_refused():
    source, outputs, targets = scene()
    outputs["count"][:] = 0
    _, result = evaluated(source, outputs, targets)
    assert result["box"]["ap"] == result["mask"]["ar100"] == 0
    for item in source.items["val"]:
        item.is_crowd[:] = True
    with pytest.raises(ValueError, match="no objects to evaluate on in 12"):
        evaluated(source, outputs, targets)


def confused(path):
    """One image in which objects are mistaken, missed and imagined."""
    boxes = np.float64([[0, 0, 20, 20], [30, 0, 50, 20], [0, 30, 20, 50]])
    item = Item(
        path=path,
        id=1,
        size=(60, 60),
        boxes=np.concatenate([boxes, [[30, 30, 60, 60]]]),
        classes=np.int32([0, 1, 1, 0]),
        is_crowd=np.array([False, False, False, True]),
        areas=np.float64([400, 400, 400, 900]),
    )
    source = Images(("a", "b"), (1, 2), {"val": [item]}, {}, False, {})
    found = np.float64(
        [[1, 0, 20, 20], [30, 1, 50, 20], [31, 31, 60, 60], [0, 20, 9, 29]]
    )
    outputs = {
        "boxes": found[None],
        "scores": np.float64([[0.9, 0.8, 0.7, 0.6]]),
        "classes": np.array([[0, 0, 1, 1]]),
        "count": np.array([4]),
    }
    targets = {"index": np.array([0]), "sizes": np.array([[60, 60]])}
    return evaluated(source, outputs, targets)


def test_confusions_are_counted_by_class():
    _, result = confused("a.jpg")
    # Taken for the other class, missed, in a crowd, and of nothing.
    assert result["confusion"] == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert result["worst"] == [{"image": "a.jpg", "missed": 1, "wrong": 2}]


def test_the_page_shows_measures_and_pictures(tmp_path):
    evaluator, result = evaluated(*scene())
    lines = page(result, evaluator.source.names, RunFolder(tmp_path), evaluator)
    text = "\n".join(lines)
    assert f"| AP | {result['box']['ap']:.4f} |" in text
    for name in ("precision_recall.png", "confusion.png"):
        assert name in text and os.path.getsize(tmp_path / name) > 5000
    rows = json.loads((tmp_path / "detections.segm.json").read_text())
    assert len(rows) == result["detections"] and "bbox" not in rows[0]


def test_the_worst_images_are_shown_with_objects_and_detections(tmp_path):
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    evaluator, result = confused(str(tmp_path / "a.png"))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    text = "\n".join(page(result, evaluator.source.names, folder, evaluator))
    assert "| a.png | 1 | 2 |" in text and "![a.png](worst/1.jpg)" in text
    picture = np.asarray(Image.open(folder.path / "worst" / "1.jpg"))
    assert picture.shape == (60, 120, 3)
    # The object at the left below was missed: it is on the left half only.
    missed = np.s_[44:49, :2]
    assert picture[:, :60][missed].max() > 100
    assert picture[:, 60:][missed].max() < 50
    # What was found in the crowd's place is on the right half only.
    found = np.s_[45:58, 29:33]
    assert picture[:, :60][found].max() < 50
    assert picture[:, 60:][found].max() > 100
