"""Boxes are assigned as mmdet's MaxIoUAssigner assigns them."""

import numpy as np
import pytest
import tensorflow as tf
import units

from gcvit_keras.detection.assign import assign

UNITS = units.load()
BOXES, OBJECTS = UNITS["assign_priors"], UNITS["assign_gts"]
RULES = {  # positive, negative, low quality
    "rpn": (0.7, 0.3, 0.3),
    "rcnn_mask": (0.5, 0.5, 0.5),
    "rcnn_50": (0.5, 0.5, None),
    "rcnn_60": (0.6, 0.6, None),
    "rcnn_70": (0.7, 0.7, None),
}


def assigned(boxes, objects, valid_objects, rule="rpn", **keywords):
    positive, negative, low_quality = RULES[rule]
    codes, iou = assign(
        boxes,
        objects,
        valid_objects,
        positive_iou=positive,
        negative_iou=negative,
        low_quality_iou=low_quality,
        **keywords,
    )
    return np.asarray(codes), np.asarray(iou)


@pytest.mark.parametrize("rule", RULES)
def test_is_mmdets_with_filling_anywhere(rule):
    """Ties are exact: later ground truth takes all of its best boxes."""
    filled = np.concatenate([OBJECTS, np.zeros((4, 4), "float32")])[None]
    codes, iou = assigned(BOXES, filled, np.arange(10)[None] < 6, rule)
    np.testing.assert_array_equal(codes[0], UNITS[f"assign_{rule}_gt"])
    np.testing.assert_array_equal(iou[0], UNITS["assign_max_iou"])


@pytest.mark.parametrize("compiled", [False, True])
def test_images_of_a_batch_have_their_own_boxes_and_objects(compiled):
    boxes = np.stack([BOXES, BOXES[::-1], BOXES])
    objects = np.stack([OBJECTS, OBJECTS, OBJECTS * 0])
    real = np.array([[True] * 6, [True] * 6, [False] * 6])

    @tf.function(jit_compile=compiled)
    def run(boxes, objects, real):
        return assign(
            boxes,
            objects,
            real,
            positive_iou=0.7,
            negative_iou=0.3,
            low_quality_iou=0.3,
        )

    codes, iou = run(boxes, objects, real)
    expected = UNITS["assign_rpn_gt"]
    np.testing.assert_array_equal(codes[0], expected)
    np.testing.assert_array_equal(codes[1], expected[::-1])
    np.testing.assert_array_equal(codes[2], 0)  # no objects: background
    np.testing.assert_array_equal(iou[2], 0)


def test_boxes_that_take_no_part_are_no_ones_best():
    """The ground truth's best box is left out: the next one is its best."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 18], [50, 50, 60, 60]])
    objects = np.array([[[0, 0, 10, 9]]])
    everything = np.ones((1, 1), bool)
    codes, _ = assigned(boxes, objects, everything)
    np.testing.assert_array_equal(codes, [[1, -1, 0]])
    codes, iou = assigned(
        boxes, objects, everything, valid=np.array([[False, True, True]])
    )
    np.testing.assert_array_equal(codes, [[-2, 1, 0]])
    np.testing.assert_allclose(iou, [[0, 0.5, 0]])


def test_boxes_without_a_number_or_an_area_are_background():
    boxes = np.array([[np.nan] * 4, [0, 0, 0, 0], [9, 9, 3, 3]], "float32")
    objects = np.array([[[0, 0, 10, 10], [4, 4, 4, 4]]], "float32")
    codes, iou = assigned(boxes, objects, np.ones((1, 2), bool))
    np.testing.assert_array_equal(codes, 0)
    np.testing.assert_array_equal(iou, 0)
    codes, _ = assigned(objects[0], objects * np.nan, np.ones((1, 2), bool))
    np.testing.assert_array_equal(codes, 0)


def test_the_first_of_equal_objects_is_assigned():
    box = np.float32([[0, 0, 10, 10]])
    twins = np.float32([[[0, 0, 10, 8], [0, 0, 10, 8]]])
    codes, _ = assigned(box, twins, np.array([[True, True]]), "rcnn_50")
    np.testing.assert_array_equal(codes, [[1]])


def test_an_overlap_of_just_the_threshold_takes_a_box():
    half, whole = np.float32([[0, 0, 10, 5]]), np.float32([[[0, 0, 10, 10]]])
    codes, iou = assign(
        half,
        whole,
        np.array([[True]]),
        positive_iou=0.75,
        negative_iou=0.25,
        low_quality_iou=0.5,
    )
    np.testing.assert_array_equal(iou, [[0.5]])
    np.testing.assert_array_equal(codes, [[1]])
