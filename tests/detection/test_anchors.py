"""Anchors are where mmdet has them."""

import numpy as np
import tensorflow as tf

from gcvit_keras.detection import anchors as a


def test_anchors_of_a_level_by_the_definition():
    """h = 8 stride sqrt(ratio), w = 8 stride / sqrt(ratio), at corners."""
    anchors = np.asarray(a.level_anchors(3, 2, 16))
    assert anchors.shape == (18, 4)
    for row, anchor in enumerate(anchors):
        y, x, ratio = np.unravel_index(row, (3, 2, 3))
        height = 128 * np.sqrt((0.5, 1, 2)[ratio])
        width = 128 * 128 / height
        expected = [x * 16 - width / 2, y * 16 - height / 2]
        expected += [x * 16 + width / 2, y * 16 + height / 2]
        np.testing.assert_allclose(anchor, expected, rtol=1e-6)


def test_sizes_of_maps_may_be_tensors():
    sizes = [(40, 56), (20, 28), (10, 14), (5, 7), (3, 4)]
    padded = np.array([[160, 224], [128, 192]])

    @tf.function(input_signature=[tf.TensorSpec((5, 2), "int32")])
    def make(sizes):
        sizes = [tuple(tf.unstack(s)) for s in tf.unstack(sizes)]
        return a.pyramid_anchors(sizes), a.anchors_in_use(sizes, padded)

    anchors, in_use = make(np.array(sizes, "int32"))
    assert anchors.shape[0] == 8961
    np.testing.assert_array_equal(anchors, a.pyramid_anchors(sizes))
    np.testing.assert_array_equal(in_use, a.anchors_in_use(sizes, padded))


def test_anchors_in_the_padding_take_no_part():
    in_use = np.asarray(
        a.anchors_in_use(
            [(5, 7), (3, 4)], np.array([[160, 224], [128, 192]]), (32, 64)
        )
    )
    assert in_use[0].all()
    fine = in_use[1, : 5 * 7 * 3].reshape(5, 7, 3)
    assert fine[:4, :6].all() and fine.sum() == 4 * 6 * 3
    coarse = in_use[1, 5 * 7 * 3 :].reshape(3, 4, 3)
    assert coarse[:2, :3].all() and coarse.sum() == 2 * 3 * 3


def test_inside_is_strict_at_the_right_and_the_bottom():
    boxes = np.array(
        [[0, 0, 9.9, 4.9], [0, 0, 10, 4], [0, 0, 9, 5], [-0.1, 0, 3, 3]],
        "float32",
    )
    inside = a.boxes_inside(boxes, np.array([[5, 10], [6, 11]]))
    expected = [[True, False, False, False], [True, True, True, False]]
    np.testing.assert_array_equal(inside, expected)
