"""Class maps for a person: of images of any size, and in colours."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from segmenters import small

from gcvit_keras.segmentation import (
    SegmentationReader,
    class_colours,
    draw_classes,
    overlay,
)
from gcvit_keras.segmentation.inference import Inference


@pytest.fixture(scope="module")
def model():
    return small(output_stride=1)


def test_classes_are_those_of_the_logits_in_the_image_s_size(model, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 56, 3))
    image = image.astype("uint8")
    (found,) = model.segment([image], short_side=None)
    expected = np.argmax(model(image[None]), axis=-1)[0]
    assert found.dtype == np.uint8 and found.shape == (40, 56)
    np.testing.assert_array_equal(found, expected)
    Image.fromarray(image).save(tmp_path / "image.png")
    (read,) = model.segment([tmp_path / "image.png"], short_side=None)
    np.testing.assert_array_equal(read, found)


def test_images_are_resized_and_class_maps_are_not(model):
    images = [np.zeros((30, 60, 3), "uint8"), np.zeros((20, 20), "uint8")]
    found = model.segment(images, short_side=64, long_side=96)
    assert [x.shape for x in found] == [(30, 60), (20, 20)]


def test_what_is_no_image_is_refused(model):
    with pytest.raises(ValueError, match="`images` must be a list of images"):
        model.segment(np.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match=r"images\[0\]"):
        model.segment([np.zeros((8, 8, 5))])
    with pytest.raises(ValueError, match="`short_side` must be a positive"):
        model.segment([np.zeros((8, 8, 3))], short_side=0)


@pytest.mark.parametrize("scales", [(), 0.5, (1.0, -1.0)])
def test_scales_are_positive_numbers(model, scales):
    with pytest.raises(ValueError, match="`scales` must be"):
        model.segment([np.zeros((8, 8, 3), "uint8")], scales=scales)


def test_a_reader_of_numpy_s_integers_is_saved():
    reader = SegmentationReader(np.int64(480), np.int32(640), np.int64(1000))
    assert SegmentationReader.from_dict(json.loads(reader.to_json())) == reader


def test_one_class_after_the_other_is_what_all_at_once_are(model):
    image = np.random.default_rng(1).integers(0, 255, (45, 70, 3))
    inference = Inference(short_side=64, long_side=128)
    network = functools.partial(model, training=False)
    (found,) = model.segment(
        [image.astype("uint8")], long_side=128, short_side=64
    )
    reduced = inference.scores(network, image, (64, 100))
    scores = tf.image.resize(reduced, (45, 70))
    np.testing.assert_array_equal(found, np.argmax(scores, axis=-1))
    assert len(np.unique(found)) > 1


def test_windows_must_meet(model):
    image = np.zeros((40, 40, 3), "uint8")
    with pytest.raises(ValueError, match="`stride` must be at most `window`"):
        model.segment([image], window=16, stride=17)


def test_colours_are_those_of_pascal_voc_from_class_1_on():
    def voc(number):
        rgb = [0, 0, 0]
        for j in range(8):
            for c in range(3):
                rgb[c] |= ((number >> c) & 1) << (7 - j)
            number >>= 3
        return rgb

    expected = [voc(k + 1) for k in range(255)]
    np.testing.assert_array_equal(class_colours(255), expected)


def test_an_overlay_mixes_colours_but_where_there_is_no_class():
    image = np.full((2, 2, 3), 100, "uint8")
    classes = np.array([[0, 1], [255, 255]])
    found = overlay(image, classes, alpha=0.25)
    assert found[0, 0].tolist() == [107, 75, 75]
    assert found[0, 1].tolist() == [75, 107, 75]
    assert (found[1] == 100).all()


def test_a_legend_has_the_classes_of_the_image_in_their_colours():
    image = np.zeros((60, 200, 3), "uint8")
    classes = np.zeros((60, 200), int)
    classes[:, 150:] = 4
    names = ["road", "sky", "tree", "car", "person"]
    picture = draw_classes(image, classes, names)
    legend = picture[60:].reshape(-1, 3)
    colours = class_colours(5)
    there = [bool((legend == colour).all(1).any()) for colour in colours]
    assert there == [True, False, False, False, True]
    np.testing.assert_array_equal(picture[:60], overlay(image, classes))


def test_an_image_of_one_pixel_has_a_class(model):
    image = np.zeros((1, 1, 3), "uint8")
    assert model.segment([image])[0].shape == (1, 1)
