"""Parts that are usable alone: their shapes, and batch norm as PyTorch's."""

import keras
import numpy as np
import pytest

from gcvit_keras.detection.box_head import BoxHead, ConvBoxHead
from gcvit_keras.detection.fpn import FeaturePyramid
from gcvit_keras.detection.mask_head import MaskHead
from gcvit_keras.detection.rpn import RPNHead
from gcvit_keras.layers.batch_norm import BatchNorm

ODD = {"P2": (25, 39), "P3": (13, 20), "P4": (7, 10), "P5": (4, 5)}
"""Sides of levels that are rounded up, as of an image of 99 x 155."""


def maps(channels=8, seed=0):
    random = np.random.default_rng(seed)
    return {
        level: random.normal(size=(2, *size, channels)).astype("float32")
        for level, size in ODD.items()
    }


@pytest.mark.torch
def test_the_pyramid_of_odd_sides_is_pytorch_s():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    neck = FeaturePyramid(6)
    inputs = maps()
    computed = neck(inputs)

    def conv(x, layer):
        kernel = np.array(layer.kernel).transpose(3, 2, 0, 1)
        kernel, bias = torch.from_numpy(kernel.copy()), np.array(layer.bias)
        return functional.conv2d(
            x, kernel, torch.from_numpy(bias), padding="same"
        )

    sums = {
        level: conv(
            torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
            neck.laterals[level],
        )
        for level, x in inputs.items()
    }
    for coarse, fine in (("P5", "P4"), ("P4", "P3"), ("P3", "P2")):
        size = sums[fine].shape[2:]
        sums[fine] = sums[fine] + functional.interpolate(
            sums[coarse], size=size, mode="nearest"
        )
    outputs = {k: conv(x, neck.smooths[k]) for k, x in sums.items()}
    outputs["P6"] = functional.max_pool2d(outputs["P5"], 1, stride=2)
    assert set(computed) == set(outputs)
    for level, expected in outputs.items():
        expected = expected.numpy().transpose(0, 2, 3, 1)
        assert computed[level].shape == expected.shape
        np.testing.assert_allclose(computed[level], expected, atol=1e-5)


@pytest.mark.torch
def test_batch_norm_is_pytorch_s_of_the_rows_that_count():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (6, 7, 7, 5)).astype("float32")
    mask = np.array([True, False, True, True, False, True])
    ours, theirs = BatchNorm(), torch.nn.BatchNorm2d(5)
    rows = torch.from_numpy(x[mask].transpose(0, 3, 1, 2).copy())
    for _ in range(2):
        computed = ours(x, training=True, is_used=mask)
        expected = theirs(rows).detach().numpy().transpose(0, 2, 3, 1)
    computed = keras.ops.convert_to_numpy(computed)
    np.testing.assert_allclose(computed[mask], expected, atol=1e-5)
    for value, other in (
        (ours.moving_mean, theirs.running_mean),
        (ours.moving_variance, theirs.running_var),
    ):
        np.testing.assert_allclose(value, other.numpy(), rtol=1e-5)
    theirs.eval()
    expected = theirs(rows).detach().numpy().transpose(0, 2, 3, 1)
    computed = keras.ops.convert_to_numpy(ours(x))[mask]
    np.testing.assert_allclose(computed, expected, atol=1e-5)


def test_a_batch_norm_without_any_row_stays_as_it_is_finite():
    layer = BatchNorm()
    x = np.ones((2, 7, 7, 3), "float32")
    outputs = layer(x, training=True, is_used=np.zeros(2, bool))
    assert np.isfinite(outputs).all()
    np.testing.assert_array_equal(layer.moving_mean, 0)
    np.testing.assert_array_equal(layer.moving_variance, 1)


def test_a_frozen_batch_norm_uses_and_keeps_what_it_has():
    layer = BatchNorm()
    x = np.random.default_rng(0).normal(size=(4, 7, 7, 3)).astype("float32")
    layer(x, training=True)
    before = layer.get_weights()
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x))
    for value, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_the_mask_of_a_class_is_its_map():
    head = MaskHead(4, 6)
    rois = np.random.default_rng(0).normal(size=(5, 14, 14, 6))
    rois = rois.astype("float32")
    every = keras.ops.convert_to_numpy(head(rois))
    assert every.shape == (5, 28, 28, 4)
    head.classifier.bias.assign([1.0, 2.0, 3.0, 4.0])
    every = keras.ops.convert_to_numpy(head(rois))
    classes = np.array([3, 0, 1, 1, 2])
    expected = every[np.arange(5), :, :, classes]
    np.testing.assert_allclose(head(rois, classes), expected, atol=1e-5)


@pytest.mark.parametrize("head_class", [BoxHead, ConvBoxHead])
def test_box_heads_start_as_mmdet_s(head_class):
    """Dense layers Xavier uniform; the ends normal 0.01 and 0.001."""
    head = head_class(80)
    head.build((None, 7, 7, 64))
    for layer, deviation in ((head.classifier, 0.01), (head.regressor, 0.001)):
        assert np.std(layer.kernel) == pytest.approx(deviation, rel=0.05)
        assert not np.any(layer.bias)
    dense = head.dense_0 if head_class is BoxHead else head.dense
    limit = (6 / sum(dense.kernel.shape)) ** 0.5
    assert np.abs(dense.kernel).max() == pytest.approx(limit, rel=0.01)
    if head_class is ConvBoxHead:
        expected = (2 / (9 * 256)) ** 0.5
        assert np.std(head.convs[0].kernel) == pytest.approx(expected, rel=0.05)


def test_other_parts_start_as_mmdet_s():
    neck, rpn, masks = FeaturePyramid(64), RPNHead(64), MaskHead(80, 64)
    pyramid = neck(maps(64))
    rpn(pyramid)
    masks.build((None, 14, 14, 64))
    limit = (6 / (9 * 128)) ** 0.5
    kernel = neck.smooths["P3"].kernel
    assert np.abs(kernel).max() == pytest.approx(limit, rel=0.01)
    for layer in (rpn.conv, rpn.objectness, rpn.deltas):
        assert np.std(layer.kernel) == pytest.approx(0.01, rel=0.2)
    # Kaiming normal by outgoing connections.
    for layer, fan in (
        (masks.convs[0], 9 * 64),
        (masks.upsample, 4 * 64),
        (masks.classifier, 80),
    ):
        expected = (2 / fan) ** 0.5
        assert np.std(layer.kernel) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "layer",
    [
        FeaturePyramid(6, name="neck"),
        RPNHead(6),
        BoxHead(4, 10),
        ConvBoxHead(4, 10, 6),
        MaskHead(4, 6),
        BatchNorm(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configurations_make_the_same_layer(layer):
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
