"""Grad-CAM of a detector's boxes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from detectors import detector

from gcvit_keras.explain import box_cam
from gcvit_keras.models import structure

BOXES = np.array([[8, 8, 56, 40], [40, 20, 90, 60]], "float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return detector()


@pytest.fixture(scope="module")
def image():
    return 255 * np.random.default_rng(0).random((64, 96, 3), "float32")


def test_the_map_is_that_of_a_tape_over_the_parts_after_the_layer(model, image):
    """A second network, cut at the map, gives the gradient."""
    (heat,) = box_cam(model, image, BOXES[:1], [2], model.backbone.layers[-1])
    backbone = keras.Model(model.backbone.input, model.backbone.pyramid_outputs)
    maps = {k: tf.constant(v) for k, v in backbone(image[None]).items()}
    last = max(maps)
    with tf.GradientTape() as tape:
        tape.watch(maps[last])
        pyramid = model.neck(maps)
        logits, _ = model.look(0, pyramid, BOXES[None, :1])
        score = logits[0, 0, 2]
    weights = tape.gradient(score, maps[last]).numpy().mean((1, 2))
    expected = np.maximum((maps[last].numpy() * weights).sum(-1), 0)[0]
    assert expected.max() > 0
    expected = expected / expected.max()
    # Both at the centres of the places of 32 pixels.
    found = heat.reshape(2, 32, 3, 32)[:, 15:17, :, 15:17].mean((1, 3))
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_boxes_and_classes_have_maps_of_their_own(model, image):
    maps = box_cam(model, image, BOXES[[0, 1, 0]], [2, 2, 0])
    assert maps.shape == (3, 64, 96)
    assert maps.min() >= 0 and maps.max() <= 1
    assert np.abs(maps[0] - maps[1]).max() > 0.1
    assert np.abs(maps[0] - maps[2]).max() > 0.1


def test_a_layer_may_be_named_and_images_be_of_any_size(model, image):
    block = structure.last_blocks(model)[1].name
    maps = box_cam(model, image[:50, :71], BOXES[:1], [0], block, "layercam")
    assert maps.shape == (1, 50, 71)


def test_what_is_no_box_of_a_detector_is_refused(model, image):
    with pytest.raises(ValueError, match="`model` must be a detector"):
        box_cam(model.backbone, image, BOXES, [0, 1])
    with pytest.raises(ValueError, match="`classes` must be"):
        box_cam(model, image, BOXES, [0, 3])
    with pytest.raises(ValueError, match="`image` must be"):
        box_cam(model, image[None], BOXES, [0, 1])
    with pytest.raises(ValueError, match="`image` must be finite"):
        box_cam(model, np.full_like(image, np.nan), BOXES, [0, 1])


@pytest.mark.parametrize(
    "boxes", [[[1, 2, 3]], [[1, 2, 3], [4]], 3, [[0, 0, 9, np.nan]], "none"]
)
def test_what_is_no_list_of_boxes_is_refused(model, image, boxes):
    with pytest.raises(ValueError, match="`boxes` must be finite.*Received"):
        box_cam(model, image, boxes, [0])


@pytest.mark.parametrize("classes", [3, [0], [0, 1.5]])
def test_every_box_has_a_class(model, image, classes):
    with pytest.raises(ValueError, match="`classes` must be .*Received"):
        box_cam(model, image, BOXES, classes)


def test_no_boxes_have_no_maps(model, image):
    assert box_cam(model, image, [], []).shape == (0, 64, 96)
