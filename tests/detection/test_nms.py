"""Suppression keeps what mmdet and the definition keep."""

import numpy as np
import pytest
import tensorflow as tf
import units

from gcvit_keras.detection import nms
from gcvit_keras.detection.detections import best_detections
from gcvit_keras.detection.shapes import fixed_sizes

UNITS = units.load()


@pytest.fixture(params=["TensorFlow", "steps"])
def way(request, monkeypatch):
    """TensorFlow's operation, and that of other backends and large graphs."""
    if request.param == "steps":
        monkeypatch.setattr(nms, "_keep_by_tensorflow", nms._keep_by_steps)


def test_many_boxes_are_kept_step_by_step_in_xla(monkeypatch):
    boxes, scores = random_boxes(40)
    groups = np.zeros(40, int)
    expected = kept_of(boxes, scores, groups, 0.3, 40)
    monkeypatch.setattr(nms, "PAIRS_LIMIT", 39)
    monkeypatch.delattr(nms, "_keep_by_tensorflow")
    with fixed_sizes():
        kept = kept_of(boxes, scores, groups, 0.3, 40)
    np.testing.assert_array_equal(kept, expected)


def kept_of(boxes, scores, groups, threshold, count, **keywords):
    """Of one image, without the filling."""
    kept, counts = tf.function(nms.non_max_suppression)(
        boxes[None],
        scores[None],
        groups[None],
        iou_threshold=threshold,
        max_count=count,
        **keywords,
    )
    assert kept.shape == (1, count)
    assert not np.any(np.asarray(kept)[0, int(counts[0]) :])
    return np.asarray(kept)[0, : int(counts[0])]


def greedy(boxes, scores, groups, threshold):
    """The definition, with numpy."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        for j in kept:
            size = np.minimum(boxes[i, 2:], boxes[j, 2:])
            size = size - np.maximum(boxes[i, :2], boxes[j, :2])
            inter = np.prod(np.maximum(size, 0))
            areas = sum(np.prod(b[2:] - b[:2]) for b in boxes[[i, j]])
            if groups[i] == groups[j] and inter > threshold * (areas - inter):
                break
        else:
            kept.append(i)
    return kept


def random_boxes(n, seed=0):
    rng = np.random.default_rng(seed)
    corner, size = rng.random((2, n, 2)) * [[[90]], [[40]]]
    boxes = np.concatenate([corner, corner + size], axis=-1)
    return boxes.astype("float32"), rng.random(n).astype("float32")


@pytest.mark.parametrize("threshold", [5, 7])
def test_keeps_what_mmdet_keeps(way, threshold):
    boxes, scores = UNITS["nms_boxes"], UNITS["nms_scores"]
    groups, expected = UNITS["nms_groups"], UNITS[f"nms_keep_{threshold}"]
    kept = kept_of(boxes, scores, groups, threshold / 10, 1000)
    np.testing.assert_array_equal(kept, expected)
    kept = kept_of(boxes, scores, groups, threshold / 10, 50)
    np.testing.assert_array_equal(kept, expected[:50])


def test_an_overlap_of_just_the_threshold_drops_none(way):
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1]])
    scores = np.float32([0.9, 0.8, 0.7])
    kept = kept_of(boxes, scores, np.array([0, 0, 1]), 0.5, 3)
    np.testing.assert_array_equal(kept, [0, 1, 2])
    kept = kept_of(boxes, scores, np.zeros(3, int), 0.5, 3)
    np.testing.assert_array_equal(kept, [0, 1])


def test_a_score_of_just_the_threshold_is_no_detection():
    """Mask R-CNN of one class: half a chance each for it and background."""
    logits = np.float32([[[0, 0], [1e-3, 0]]])
    boxes = np.float32([[[0, 0, 10, 10], [20, 20, 30, 30]]])
    *_, count = best_detections(
        logits,
        np.zeros((1, 2, 1, 4), "float32"),
        boxes,
        np.array([[True, True]]),
        np.array([[40, 40]]),
        stds=(0.1, 0.1, 0.2, 0.2),
        score_threshold=0.5,
        iou_threshold=0.5,
        max_count=4,
    )
    assert int(count[0]) == 1


def test_keeps_the_detections_of_mmdet(way):
    """Each of 120 boxes for each of 5 classes, above a score."""
    boxes = UNITS["mcnms_boxes"].reshape(-1, 4)
    scores = UNITS["mcnms_scores"][:, :5].reshape(-1)
    classes = np.tile(np.arange(5), 120)
    kept = kept_of(boxes, scores, classes, 0.5, 100, valid=scores[None] > 0.05)
    np.testing.assert_array_equal(kept, UNITS["mcnms_index"])
    np.testing.assert_array_equal(classes[kept], UNITS["mcnms_labels"])
    np.testing.assert_array_equal(scores[kept], UNITS["mcnms_dets"][:, 4])


@pytest.mark.parametrize("compiled", [False, True])
def test_images_of_a_batch_do_not_meet(way, compiled):
    images = [random_boxes(200, seed) for seed in range(3)]
    boxes, scores = (np.stack(x) for x in zip(*images, strict=True))
    groups = np.random.default_rng(0).integers(0, 3, (3, 200))

    @tf.function(jit_compile=compiled)
    def suppress(boxes, scores, groups):
        return nms.non_max_suppression(
            boxes, scores, groups, iou_threshold=0.4, max_count=190
        )

    kept, counts = suppress(boxes, scores, groups)
    for i in range(3):
        expected = greedy(boxes[i], scores[i], groups[i], 0.4)
        assert 20 < len(expected) < 190
        np.testing.assert_array_equal(kept[i, : counts[i]], expected)


def test_boxes_without_a_number_or_an_area_harm_none(way):
    boxes, scores = random_boxes(60)
    boxes[3] = np.nan
    boxes[7, 2] = np.inf
    scores[11] = np.nan
    boxes[20:30] = 0  # all equal, none overlaps any
    scores[20:25] = scores[20]
    groups = np.zeros(60, int)
    usable = np.delete(np.arange(60), [3, 7, 11])
    expected = greedy(boxes[usable], scores[usable], groups[usable], 0.5)
    kept = kept_of(boxes, scores, groups, 0.5, 100)
    np.testing.assert_array_equal(kept, usable[expected])
    assert not len(kept_of(boxes * np.nan, scores, groups, 0.5, 10))
