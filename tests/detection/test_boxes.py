"""Boxes are coded as mmdet codes them, and overlap as they should."""

import keras
import numpy as np
import pytest
import units

from gcvit_keras.detection import boxes as b

UNITS = units.load()
STDS = {
    "unit": (1, 1, 1, 1),
    "rcnn": (0.1, 0.1, 0.2, 0.2),
    "stage3": (0.033, 0.033, 0.067, 0.067),
}
BOXES, DELTAS = UNITS["coder_boxes"], UNITS["coder_deltas"]


@pytest.mark.parametrize("stds", STDS)
def test_encodes_as_mmdet(stds):
    encoded = b.encode_boxes(UNITS["coder_gt"], BOXES, STDS[stds])
    np.testing.assert_allclose(
        encoded, UNITS[f"coder_{stds}_encoded"], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("stds", STDS)
def test_decodes_as_mmdet(stds):
    decoded = b.decode_boxes(DELTAS, BOXES, STDS[stds])
    expected = UNITS[f"coder_{stds}_decoded_unclipped"]
    assert np.abs(expected).max() > 500  # where the clamp is felt
    np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-4)
    sizes = np.array([[150, 200]])
    decoded = b.decode_boxes(DELTAS[None], BOXES[None], STDS[stds], sizes)
    expected = UNITS[f"coder_{stds}_decoded"][None]
    np.testing.assert_allclose(decoded, expected, rtol=1e-6, atol=1e-4)


def test_clips_each_image_to_its_own_size():
    boxes = np.full((2, 3, 5, 4), [-10, -20, 900, 800], "float32")
    clipped = np.asarray(b.clip_boxes(boxes, np.array([[50, 60], [70, 80]])))
    assert (clipped[0] == [0, 0, 60, 50]).all()
    assert (clipped[1] == [0, 0, 80, 70]).all()


def test_overlap_is_keras_own():
    rng = np.random.default_rng(0)
    corners = rng.random((2, 7, 2, 2)).astype("float32") * 50
    boxes = np.concatenate([corners.min(2), corners.max(2)], axis=-1)
    iou = b.box_iou(boxes[:, :4], boxes)
    expected = keras.utils.bounding_boxes.compute_iou(
        boxes[:, :4], boxes, bounding_box_format="xyxy"
    )
    np.testing.assert_allclose(iou, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.asarray(iou)[0, 1, 1], 1)


def test_boxes_without_area_overlap_nothing_and_have_finite_codes():
    boxes = np.array(
        [[0, 0, 0, 0], [5, 5, 5, 9], [9, 9, 3, 3], [0, 0, 8, 8]], "float32"
    )
    expected = np.zeros((4, 4))
    expected[3, 3] = 1
    np.testing.assert_array_equal(b.box_iou(boxes, boxes), expected)
    np.testing.assert_array_equal(b.box_areas(boxes), [0, 0, 0, 64])
    encoded = np.asarray(b.encode_boxes(boxes, boxes[::-1]))
    np.testing.assert_array_equal(encoded, 0)
    assert not np.any(b.box_iou(boxes * np.nan, boxes))
