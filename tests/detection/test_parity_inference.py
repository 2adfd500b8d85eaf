"""The detectors find what mmdet finds, step by step and as a whole."""

import numpy as np
import pytest
from keras import ops
from reference import unpack

from gcvit_keras.detection.masks import paste_masks_numpy
from gcvit_keras.detection.rpn import propose

LEVELS = ("P2", "P3", "P4", "P5", "P6")


@pytest.fixture(scope="module")
def features(reference, detector):
    return detector.features(reference.inputs())


@pytest.fixture(scope="module")
def detections(reference, detector):
    return {k: v for k, v in detector.predict(reference.inputs()).items()}


def assert_close(computed, expected, name):
    error = np.abs(ops.convert_to_numpy(computed) - expected).max()
    assert error <= 1e-4 * np.abs(expected).max(), name


def assert_same_boxes(boxes, scores, classes, expected):
    """Each expected box has one of ours, and no other has the same."""
    expected_boxes, expected_scores, expected_classes = expected
    assert len(boxes) == len(expected_boxes)
    taken = set()
    for box, score, label in zip(
        expected_boxes, expected_scores, expected_classes, strict=True
    ):
        distance = np.abs(boxes - box).max(axis=1)
        distance[classes != label] = np.inf
        near = [
            i
            for i in np.flatnonzero(distance <= 0.05)
            if i not in taken and abs(scores[i] - score) <= 1e-4
        ]
        assert near, (box, score, label, distance.min())
        taken.add(near[0])


@pytest.mark.parametrize("level", LEVELS)
def test_maps_equal_mmdet_s(reference, features, level):
    assert_close(features["pyramid"][level], reference.io[level], level)
    for part, name in (("logits", "cls"), ("deltas", "reg")):
        expected = reference.io[f"rpn_{name}_{level}"]
        assert_close(features[part][level], expected, name)


def test_pixels_of_the_padding_do_not_matter(reference, detector, features):
    other = detector.features(reference.inputs(padding=np.nan))
    for level in LEVELS:
        np.testing.assert_array_equal(
            other["pyramid"][level], features["pyramid"][level]
        )


def test_proposals_equal_mmdet_s(reference):
    logits, deltas = (
        {k: reference.io[f"rpn_{name}_{k}"] for k in LEVELS}
        for name in ("cls", "reg")
    )
    boxes, scores, valid = propose(logits, deltas, reference.sizes)
    for i in (0, 1):
        expected = reference.io[f"proposals_{i}"]
        real = np.asarray(valid[i])
        assert real.sum() == len(expected)
        nothing = np.zeros(len(expected))
        assert_same_boxes(
            np.asarray(boxes[i])[real],
            np.asarray(scores[i])[real],
            nothing,
            (expected, reference.io[f"proposal_scores_{i}"], nothing),
        )


def test_stages_score_and_move_the_recorded_regions_as_mmdet(
    reference, detector
):
    for k in range(reference.stages):
        rois = reference.io[f"s{k}_rois"]
        rows = rois[:, 0].astype(int)
        boxes = np.stack([rois[rows == i, 1:] for i in (0, 1)])
        logits, deltas = detector.look(k, reference.pyramid(), boxes)
        n = len(rois)
        assert_close(
            ops.reshape(logits, (n, -1)), reference.io[f"s{k}_cls_score"], k
        )
        assert_close(
            ops.reshape(deltas, (n, -1)), reference.io[f"s{k}_bbox_pred"], k
        )


def assert_mmdet_s_detections(reference, detections):
    for i in (0, 1):
        count = detections["count"][i]
        names = ("boxes", "scores", "labels")
        assert_same_boxes(
            detections["boxes"][i][:count],
            detections["scores"][i][:count],
            detections["classes"][i][:count],
            [reference.io[f"det_{name}_{i}"] for name in names],
        )


def test_detections_equal_mmdet_s(reference, detections):
    assert_mmdet_s_detections(reference, detections)


@pytest.mark.slow
def test_detections_compiled_by_xla_equal_mmdet_s(reference):
    model = reference.model()
    model.compile(jit_compile=True)
    assert_mmdet_s_detections(reference, model.predict(reference.inputs()))


@pytest.mark.parametrize("kind", ["input", "original"])
def test_pasted_masks_equal_mmdet_s(reference, detections, kind):
    for i, facts in enumerate(reference.facts["images"]):
        shape = facts["img_shape" if kind == "input" else "ori_shape"]
        boxes = detections["boxes"][i]
        if kind == "original":
            boxes = boxes / np.array(facts["scale_factor"] * 2, "float32")
        masks = paste_masks_numpy(detections["masks"][i], boxes, *shape)
        expected = unpack(reference.io[f"masks_{kind}_{i}"], *shape)
        order = _partners(detections, reference.io, i)
        places = np.argwhere(masks[order] != expected)
        suffix = "_original" if kind == "original" else ""
        theirs = reference.io[f"det_boxes{suffix}_{i}"]
        values = _values(detections["masks"][i][order], theirs, places)
        # Of some 3.4 million pixels mmdet's own float64 run changes up to 4,
        # which lie on the threshold but for the float32 noise of the maps. In
        # mmdet's box: one of half a pixel's height turns 7e-5 px of noise in
        # its corner into 8e-4 of a pixel's value.
        assert len(places) <= 8
        assert np.abs(values - 0.5).max(initial=0) <= 5e-5


def _partners(detections, io, i):
    """Which of our detections each of mmdet's is."""
    boxes, labels = io[f"det_boxes_{i}"], io[f"det_labels_{i}"]
    distance = np.abs(detections["boxes"][i] - boxes[:, None]).max(axis=-1)
    distance[detections["classes"][i] != labels[:, None]] = np.inf
    return distance.argmin(axis=1)


def _values(masks, boxes, places):
    """Bilinear values of masks at pixels (detection, y, x), in float64."""
    values = []
    for d, y, x in places:
        x1, y1, x2, y2 = boxes[d].astype("float64")
        v = (y + 0.5 - y1) / (y2 - y1) * 28 - 0.5
        u = (x + 0.5 - x1) / (x2 - x1) * 28 - 0.5
        rows = np.maximum(1 - np.abs(v - np.arange(28)), 0)
        columns = np.maximum(1 - np.abs(u - np.arange(28)), 0)
        values.append(rows @ masks[d] @ columns)
    return np.array(values)
