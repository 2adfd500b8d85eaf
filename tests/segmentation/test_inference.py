"""An image's scores: whole or by windows, at scales and mirrored, averaged."""

import numpy as np
import pytest
import tensorflow as tf

from gcvit_keras.segmentation.inference import Inference


class Mean:
    """Logits of the mean of what it is given, for windows to differ."""

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen.append(tuple(images.shape[1:3]))
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        return mean + 0 * images[:, ::4, ::4]


@pytest.mark.parametrize("in_graph", [False, True])
def test_windows_slide_over_the_image_and_are_averaged(in_graph):
    image = np.random.default_rng(0).random((20, 33, 3)).astype("float32")
    network = Mean()
    inference = Inference(None, window=16, stride=10)

    def scores(image):
        return inference.scores(network, image)

    if in_graph:
        any_size = tf.TensorSpec((None, None, 3))
        scores = tf.function(scores, [any_size], autograph=False)
    found = scores(image)
    total, seen = np.zeros((20, 33, 3)), np.zeros((20, 33, 1))
    for top in (0, 4):
        for left in (0, 10, 17):
            part = np.s_[top : top + 16, left : left + 16]
            total[part] += image[part].mean((0, 1))
            seen[part] += 1
    np.testing.assert_allclose(found, total / seen, atol=1e-5)
    if not in_graph:
        assert network.seen == 6 * [(16, 16)]


def test_an_image_smaller_than_a_window_is_one_window():
    network = Mean()
    image = np.zeros((10, 12, 3), "float32")
    Inference(None, window=16).scores(network, image)
    assert network.seen == [(10, 12)]


def test_scales_and_flips_average_probabilities():
    image = np.random.default_rng(0).random((16, 24, 3)).astype("float32")

    def network(images):
        return (
            9
            * images[:, :, :, ::-1]
            * tf.linspace(0.0, 1.0, tf.shape(images)[2])[:, None]
        )

    found = Inference(None, scales=(1.0, 2.0), flips=True).scores(
        network, image
    )
    expected = 0
    for scale in (1, 2):
        size = 16 * scale, 24 * scale
        large = tf.image.resize(image[None], size)
        for step in (1, -1):
            logits = network(large[:, :, ::step])[:, :, ::step]
            expected += tf.nn.softmax(tf.image.resize(logits, (16, 24))) / 4
    np.testing.assert_allclose(found, expected[0], atol=1e-5)
    np.testing.assert_allclose(found.numpy().sum(-1), 1, atol=1e-5)


def test_images_are_measured_in_the_size_that_the_recipe_says():
    network = Mean()
    image = np.zeros((30, 60, 3), "float32")
    scores = Inference(short_side=20, long_side=35).scores(network, image)
    # 20 x 40 would be too long.
    assert network.seen == [(18, 35)] and scores.shape == (30, 60, 3)


def test_halves_of_a_pixel_are_rounded_up_as_mmcv_does():
    network = Mean()
    Inference(short_side=32).scores(network, np.zeros((64, 81, 3), "float32"))
    assert network.seen == [(32, 41)]  # 40.5 wide
