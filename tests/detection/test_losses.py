"""Losses are mmdet's, torch's, and finite for filling."""

import numpy as np
import pytest
import tensorflow as tf
import units

from gcvit_keras.detection import losses

UNITS = units.load()


def loss_and_gradient(loss, predictions, factor=1.0):
    predictions = tf.constant(predictions)
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        each = loss(predictions)
        total = tf.reduce_sum(each) * factor
    return each.numpy(), float(total), tape.gradient(total, predictions)


def test_giou_is_mmdets_with_its_gradient():
    """Boxes that are equal, apart, without area, with corners exchanged."""
    each, total, gradient = loss_and_gradient(
        lambda boxes: losses.giou_loss(boxes, UNITS["giou_target"]),
        UNITS["giou_pred"],
        10 / 128,
    )
    np.testing.assert_allclose(each, UNITS["giou_each"], rtol=0, atol=1e-6)
    expected = UNITS["giou_loss_weight10_avg128"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    expected = UNITS["giou_grad"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8)


def test_giou_of_filling_is_finite():
    each, _, gradient = loss_and_gradient(
        lambda boxes: losses.giou_loss(boxes, tf.zeros((3, 4))),
        np.zeros((3, 4), "float32"),
    )
    assert np.isfinite(each).all() and np.isfinite(gradient).all()


def test_smooth_l1_is_mmdets_with_its_gradient():
    each, _, gradient = loss_and_gradient(
        lambda x: losses.smooth_l1(x, tf.zeros_like(x), 1 / 9),
        UNITS["smoothl1_pred"],
    )
    np.testing.assert_allclose(each, UNITS["smoothl1_beta_1_9"], rtol=1e-6)
    np.testing.assert_allclose(gradient, UNITS["smoothl1_grad"], rtol=1e-6)
    each = losses.smooth_l1(UNITS["smoothl1_pred"], np.zeros(50), 0)
    np.testing.assert_array_equal(each, np.abs(UNITS["smoothl1_pred"]))


def test_cross_entropies_are_torchs_for_large_logits_too():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(40, 6)) * 50).astype("float32")
    classes = rng.integers(0, 6, 40)
    np.testing.assert_allclose(
        losses.cross_entropy(logits, classes),
        torch.nn.functional.cross_entropy(
            torch.tensor(logits), torch.tensor(classes), reduction="none"
        ),
        rtol=1e-5,
        atol=1e-6,
    )
    targets = rng.integers(0, 2, logits.shape).astype("float32")
    np.testing.assert_allclose(
        losses.binary_cross_entropy(logits, targets),
        torch.nn.functional.binary_cross_entropy_with_logits(
            torch.tensor(logits), torch.tensor(targets), reduction="none"
        ),
        rtol=1e-5,
        atol=1e-6,
    )


def test_losses_are_float32_and_finite_for_the_classes_of_filling():
    logits = np.ones((2, 3), "float16")
    loss = losses.cross_entropy(logits, np.array([-1, 3]))
    np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)
    assert loss.dtype == "float32"
    assert losses.binary_cross_entropy(logits, logits).dtype == "float32"
    assert losses.smooth_l1(logits, logits, 1).dtype == "float32"
