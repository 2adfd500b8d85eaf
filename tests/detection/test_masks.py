"""Masks are cut and pasted bit by bit as mmdet does."""

import numpy as np
import pytest
import tensorflow as tf
import units

from gcvit_keras.detection import masks as m

UNITS = units.load()
PASTED = UNITS["paste_masks"], UNITS["paste_boxes"]


@pytest.mark.parametrize("compiled", [False, True])
def test_targets_are_mmdets_bit_by_bit(compiled):
    cut = tf.function(m.mask_targets, jit_compile=compiled)
    targets = cut(
        UNITS["crop_gt_masks"][None],
        UNITS["crop_boxes"][None],
        UNITS["crop_gt"][None],
    )
    assert targets.dtype == "float32"
    np.testing.assert_array_equal(targets[0], UNITS["crop_binary"])


def test_targets_of_a_batch_come_from_their_own_image():
    masks = np.zeros((2, 3, 40, 60), bool)
    masks[0, 1, :20] = masks[1, 1, :, :30] = True
    boxes = np.full((2, 2, 4), [10, 10, 50, 30], "float32")
    targets = np.asarray(
        m.mask_targets(masks, boxes, np.array([[1, 0], [1, 2]]), 8)
    )
    expected = np.zeros((2, 8, 8))
    expected[0, :4] = expected[1, :, :4] = 1
    np.testing.assert_array_equal(targets[:, 0], expected)
    assert not targets[:, 1].any()


def test_targets_of_boxes_that_are_none_are_empty():
    boxes = np.array([[[0, 0, 0, 0], [9, 9, 3, 3], [np.nan] * 4]], "float32")
    masks = np.ones((1, 1, 16, 16), "uint8")
    assert not np.any(m.mask_targets(masks, boxes, np.zeros((1, 3), int)))


def test_a_target_that_is_half_covered_is_on():
    left = np.zeros((1, 1, 4, 4), "uint8")
    left[..., :2] = 1
    boxes = np.float32([[[1, 0, 3, 4], [1.1, 0, 3.1, 4]]])
    targets = m.mask_targets(left, boxes, np.array([[0, 0]]), output_size=1)
    np.testing.assert_array_equal(np.ravel(targets), [1, 0])


def ellipse(box, height, width):
    y, x = np.mgrid[:height, :width] + 0.5
    x1, y1, x2, y2 = box
    x, y = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    return (x**2 + y**2 < 1).astype("uint8")


def test_targets_from_masks_over_boxes_are_those_of_whole_masks():
    objects = np.float32([[4, 6, 60, 62], [20, 10, 132, 66]])
    whole = np.stack([ellipse(box, 80, 140) for box in objects])
    over = np.zeros((2, 56, 56), "uint8")
    for k, (x1, y1, x2, y2) in enumerate(objects.astype(int)):
        part = whole[k, y1:y2, x1:x2].astype("float32")
        shares = part.reshape(56, (y2 - y1) // 56, 56, (x2 - x1) // 56)
        over[k] = 255 * shares.mean((1, 3))
    random = np.random.default_rng(0)
    which = random.integers(0, 2, 40)
    boxes = objects[which] + random.uniform(-9, 9, (40, 4)).astype("float32")
    boxes = np.clip(boxes, 0, [140, 80] * 2)
    boxes[0] = 0  # filling
    found = np.asarray(
        m.box_mask_targets(over[None], objects[None], boxes[None], which[None])
    )[0]
    expected = np.asarray(
        m.mask_targets(whole[None], boxes[None], which[None])
    )[0]
    assert found.shape == (40, 28, 28) and not found[0].any()
    # The second object's cells are two pixels wide.
    differing = (found != expected).mean((1, 2))
    assert differing[which == 0].max() < 1e-3
    assert differing[which == 1].mean() < 0.015


def paste_in_graph(probabilities, boxes, height, width, compiled=False):
    paste = tf.function(m.paste_masks, jit_compile=compiled)
    return paste(probabilities[None], boxes[None], height, width)[0]


def paste_in_xla(*arguments):
    return paste_in_graph(*arguments, compiled=True)


@pytest.mark.parametrize(
    "paste", [paste_in_graph, paste_in_xla, m.paste_masks_numpy]
)
def test_pasted_masks_are_mmdets_bit_by_bit(paste):
    """Boxes over the border, smaller than a pixel, as large as the image."""
    masks = np.asarray(paste(*PASTED, 50, 70))
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, UNITS["paste_binary"])


@pytest.mark.parametrize("paste", [paste_in_graph, m.paste_masks_numpy])
def test_boxes_that_are_none_are_not_drawn(paste):
    boxes = np.array(
        [
            [0, 0, 0, 0],
            [5, 2, 5, 9],
            [9, 9, 3, 3],
            [np.nan] * 4,
            [0, 0, 1, np.inf],
        ],
        "float32",
    )
    assert not np.any(paste(np.ones((5, 28, 28), "float32"), boxes, 12, 12))


def test_both_ways_of_pasting_draw_the_same():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-40, 140, (2, 20, 2, 2))
    boxes = np.concatenate([corners.min(2), corners.max(2)], -1)
    probabilities = rng.random((2, 20, 28, 28), "float32")
    masks = m.paste_masks(probabilities, boxes, 90, 110)
    assert np.any(masks)
    for i in range(2):
        alone = m.paste_masks_numpy(probabilities[i], boxes[i], 90, 110)
        np.testing.assert_array_equal(masks[i], alone)
