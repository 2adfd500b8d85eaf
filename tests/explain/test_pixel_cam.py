"""Grad-CAM of the pixels of a class."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gcvit_keras import GCViT
from gcvit_keras.explain import pixel_cam

sys.path.append(str(Path(__file__).parent.parent / "segmentation"))
from segmenters import small  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return small(4)


@pytest.fixture(scope="module")
def image():
    return 255 * np.random.default_rng(0).random((40, 56, 3), "float32")


def test_the_map_is_the_head_s_weighed_by_the_class_s_kernel(model, image):
    """Of a 1x1 classifier the gradient at a pixel of the class is its kernel,
    elsewhere 0: the weights of all channels are that kernel."""
    k = int(np.argmax(np.asarray(model(image[None])).mean((0, 1, 2))))
    found = pixel_cam(model, image, [k])[0]
    head = model.decode_head(model.backbone(image[None]))
    weights = np.asarray(model.classifier.kernel)[0, 0, :, k]
    expected = np.maximum((np.asarray(head) * weights).sum(-1), 0)
    expected = tf.image.resize(expected[..., None], (40, 56))[0, ..., 0]
    expected = expected / tf.reduce_max(expected)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_other_layers_and_classes_without_pixels_have_maps(model, image):
    maps = pixel_cam(model, image, [0, 1, 2, 3], layer="decode_head")
    assert maps.shape == (4, 40, 56)
    assert maps.min() >= 0 and maps.max() == 1


def test_what_is_no_segmenter_is_refused(model, image):
    classifier = GCViT(
        embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), mlp_ratio=1,
        input_shape=(32, 32, 3),
    )  # fmt: skip
    with pytest.raises(ValueError, match="`model` must be a segmenter"):
        pixel_cam(classifier, image, [0])


@pytest.mark.parametrize("classes", [[4], [-1], [1.5], 3])
def test_what_is_no_list_of_classes_is_refused(model, image, classes):
    with pytest.raises(ValueError, match="`classes` must be a list.*0 to 3"):
        pixel_cam(model, image, classes)


def test_an_image_of_nan_is_refused(model, image):
    with pytest.raises(ValueError, match="`image` must be finite"):
        pixel_cam(model, np.full_like(image, np.nan), [0])
