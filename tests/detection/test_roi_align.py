"""RoIAlign samples as mmdet's does."""

import numpy as np
import pytest
import tensorflow as tf
import units

from gcvit_keras.detection import roi_align as r
from gcvit_keras.detection.shapes import fixed_sizes

UNITS = units.load()
FEATURES, ROIS = UNITS["roi_feat"], UNITS["roi_rois"]
STRIDE = 1 / float(UNITS["roi_scale"])


def on_both_images(rois):
    """Boxes of both images; which image's result counts for each."""
    images = rois[:, 0].astype(int)
    return np.stack([rois[:, 1:]] * 2), images, np.arange(len(rois))


def aligned_with_gradient(align, features, weight):
    features = tf.nest.map_structure(tf.constant, features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        bins = align(features)
        total = tf.reduce_sum(bins * weight)
    return bins.numpy(), tape.gradient(total, features)


@pytest.mark.parametrize("size", [7, 14])
def test_is_mmdets_with_its_gradient(size):
    """Boxes outside, without area, tiny, as large as the map."""
    boxes, images, places = on_both_images(ROIS)
    weight = np.zeros((2, len(ROIS), size, size, 5), "float32")
    weight[images, places] = UNITS[f"roi_weight_{size}"]
    bins, gradient = aligned_with_gradient(
        lambda features: r.pyramid_roi_align([features], boxes, size, [STRIDE]),
        FEATURES,
        weight,
    )
    expected = UNITS[f"roi_out_{size}"]
    np.testing.assert_allclose(
        bins[images, places], expected, rtol=0, atol=5e-6
    )
    expected = UNITS[f"roi_grad_{size}"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [7, 14])
def test_is_mmdets_in_xla(size):
    """No tensor sizes itself by the boxes; the other backends' way, too."""
    boxes, images, places = on_both_images(ROIS)

    @tf.function(jit_compile=True)
    def align(features, boxes):
        return r.pyramid_roi_align([features], boxes, size, [STRIDE])

    bins = align(FEATURES, boxes).numpy()[images, places]
    expected = UNITS[f"roi_out_{size}"]
    np.testing.assert_allclose(bins, expected, rtol=0, atol=2e-5)


def test_windows_of_a_fixed_size_hold_the_longest_boxes():
    features, boxes = pyramid(batch=1), boxes_of_all_sizes(12)[:1]
    boxes[0, :4] = [
        [0, 99, 640, 118],
        [300, 0, 324, 512],
        [0, 0, 640, 512],
        [3, 3, 114.9, 114.9],
    ]

    def align(features):
        return r.pyramid_roi_align(features, boxes, 7)

    with fixed_sizes():
        bins, gradients = aligned_with_gradient(align, features, 1.0)
    expected, expected_gradients = aligned_with_gradient(align, features, 1.0)
    np.testing.assert_allclose(bins, expected, rtol=0, atol=2e-5)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4)


def test_levels_are_mmdets():
    levels = r.box_levels(UNITS["level_rois"][:, 1:])
    np.testing.assert_array_equal(levels, UNITS["level_out"])
    odd = np.array([[0, 0, 0, 0], [9, 9, 3, 3], [0, 0, np.nan, 9]], "float32")
    np.testing.assert_array_equal(r.box_levels(odd), 0)


def test_pixel_by_pixel_definition():
    """Every sample by itself, in float64."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 9, 12, 3)).astype("float32")
    boxes = rng.uniform(-30, 130, (40, 2, 2))
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], -1).astype("float32")
    boxes[:3] = [[-500, -500, 900, 900], [0, 0, 96, 72], [3, 3, 3.001, 50]]
    bins = np.asarray(r.pyramid_roi_align([features], boxes[None], 3, [8]))[0]
    expected = [sampled(features[0], box / 8.0 - 0.5, 3) for box in boxes]
    np.testing.assert_allclose(bins, expected, rtol=0, atol=1e-5)


def sampled(features, box, size):
    result = np.zeros((size, size, features.shape[-1]))
    for i in range(size):
        for j in range(size):
            ys = positions(box[1], box[3], i, size)
            xs = positions(box[0], box[2], j, size)
            samples = [bilinear(features, y, x) for y in ys for x in xs]
            result[i, j] = np.mean(samples, axis=0) if samples else 0
    return result


def positions(begin, end, bin_, bins):
    size = (float(end) - float(begin)) / bins
    count = int(np.ceil(size))
    return [
        begin + bin_ * size + (i + 0.5) * size / count for i in range(count)
    ]


def bilinear(features, y, x):
    height, width, channels = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(channels)
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    low, left = int(y), int(x)
    below, right = min(low + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - low, x - left
    return (
        (1 - dy) * ((1 - dx) * features[low, left] + dx * features[low, right])
        + dy * (1 - dx) * features[below, left]
        + dy * dx * features[below, right]
    )


def pyramid(batch=2, channels=4):
    rng = np.random.default_rng(1)
    return [
        rng.normal(size=(batch, 512 // s, 640 // s, channels)).astype("float32")
        for s in (4, 8, 16, 32)
    ]


def boxes_of_all_sizes(n, seed=0):
    rng = np.random.default_rng(seed)
    size = np.exp(rng.uniform(np.log(4), np.log(640), (2, n, 2)))
    corner = rng.uniform(0, 300, (2, n, 2))
    boxes = np.concatenate([corner, corner + size], -1)
    return np.minimum(boxes, [640, 512, 640, 512]).astype("float32")


def test_each_box_is_read_from_its_level():
    features, boxes = pyramid(), boxes_of_all_sizes(60)
    levels = np.asarray(r.box_levels(boxes))
    assert set(levels.flatten()) == {0, 1, 2, 3}
    bins = np.asarray(r.pyramid_roi_align(features, boxes, 7))
    assert bins.shape == (2, 60, 7, 7, 4)
    for level, (map_, stride) in enumerate(
        zip(features, (4, 8, 16, 32), strict=True)
    ):
        alone = np.asarray(r.pyramid_roi_align([map_], boxes, 7, [stride]))
        here = levels == level
        np.testing.assert_allclose(bins[here], alone[here], atol=1e-6)


def test_boxes_that_are_none_give_zeros():
    boxes = np.zeros((2, 5, 4), "float32")
    boxes[:, 1] = np.nan
    boxes[:, 2] = [4, 4, 90, np.inf]
    boxes[:, 3] = [50, 50, 20, 20]
    boxes[:, 4] = [50, 50, 20, 90]
    bins, gradients = aligned_with_gradient(
        lambda features: r.pyramid_roi_align(features, boxes, 7),
        pyramid(),
        1.0,
    )
    assert not bins.any()
    assert not any(np.any(g) for g in gradients)
    none = r.pyramid_roi_align(pyramid(), boxes[:, :0], 7)
    assert none.shape == (2, 0, 7, 7, 4)


def test_half_precision_is_computed_in_float32():
    features = [f.astype("float16") for f in pyramid()]
    boxes = boxes_of_all_sizes(10)
    bins = r.pyramid_roi_align(features, boxes, 7)
    assert bins.dtype == "float32"
    exact = r.pyramid_roi_align(
        [f.astype("float32") for f in features], boxes, 7
    )
    np.testing.assert_array_equal(bins, exact)


def test_sizes_of_maps_and_number_of_boxes_may_be_unknown():
    features, boxes = pyramid(), boxes_of_all_sizes(9)

    @tf.function(
        input_signature=[
            [tf.TensorSpec((None, None, None, 4))] * 4,
            tf.TensorSpec((None, None, 4)),
        ]
    )
    def align(features, boxes):
        return r.pyramid_roi_align(features, boxes, 7)

    np.testing.assert_allclose(
        align(features, boxes),
        r.pyramid_roi_align(features, boxes, 7),
        rtol=0,
        atol=2e-5,
    )
