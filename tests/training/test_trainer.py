"""The training step, run eagerly."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from recipe import small
from sklearn.utils.class_weight import compute_class_weight

from gcvit_training.optimizer import adamw
from gcvit_training.tasks.classification import Classification
from gcvit_training.tasks.classification.network import build_network
from gcvit_training.trainer import Trainer


def after_steps(*overrides, steps=2, batch=8):
    """A trainer after a few steps, their losses, and its weights after each.

    The first weights are those before any step.
    """
    config = small("model.depths=[1, 2, 1, 1]", *overrides)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(config.precision)
    network = build_network(config, 10)
    trainer = Trainer(network, Classification(config, None))
    optimizer = adamw(config, 100, network)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    trainer.compile(optimizer, jit_compile=False, auto_scale_loss=False)
    optimizer.build(network.trainable_variables)
    rng = np.random.default_rng(0)
    images = tf.constant(255 * rng.random((batch, 32, 32, 3), "float32"))
    labels = tf.one_hot(np.arange(batch) % 10, 10)
    weights, losses = [values(network)], []
    for _ in range(steps):
        trainer.reset_metrics()
        losses.append(float(trainer.train_step((images, labels))["loss"]))
        weights.append(values(network))
    return weights, losses, trainer


def values(network):
    """Arrays of the trainable variables."""
    return [np.array(v) for v in network.trainable_variables]


# Two graphs of the same numbers differ by a last bit. Where a gradient is next
# to nothing, Adam's own epsilon of 1e-8 makes a whole step of that.
DROPS = ("model.drop_path_rate=0.5", "optimizer.epsilon=1e-5")


@pytest.fixture(scope="module")
def dropped():
    return after_steps(*DROPS)


def largest_gap(first, second):
    """Largest difference of two lists of weights after the last step."""
    pairs = zip(first[-1], second[-1], strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


def test_drop_path_repeats_from_the_step_and_differs_with_the_seed(dropped):
    weights, losses, _ = dropped
    again, same, _ = after_steps(*DROPS)
    assert losses == same and largest_gap(weights, again) == 0
    assert losses != after_steps(*DROPS, "seed=1")[1]
    assert losses != after_steps(*DROPS, "model.drop_path_rate=0")[1]


def test_recomputed_activations_are_what_they_were(dropped):
    weights, losses, _ = dropped
    again, same, _ = after_steps(*DROPS, "model.recompute=true")
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    assert largest_gap(weights, again) < 1e-6


def test_a_batch_in_parts_gives_the_same_update():
    still = "model.drop_path_rate=0"
    whole, losses, _ = after_steps(still)
    parts, same, _ = after_steps(still, "optimizer.accumulate=4")
    np.testing.assert_allclose(same, losses, rtol=1e-5)
    # Adam's first steps magnify rounding where a gradient is near 0.
    pairs = zip(whole[-1], parts[-1], strict=True)
    assert np.median([np.abs(a - b).max() for a, b in pairs]) < 1e-5
    assert largest_gap(whole, parts) < 2e-3


def test_averages_follow_the_weights():
    weights, _, _ = after_steps()
    _, _, trainer = after_steps("optimizer.ema=0.75")
    for average, a, b, c in zip(trainer.averages, *weights, strict=True):
        expected = 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c
        np.testing.assert_allclose(average, expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns(precision):
    _, losses, trainer = after_steps(f"precision={precision}", steps=6)
    assert np.isfinite(losses).all() and losses[-1] < 0.8 * losses[0]
    stem = trainer.network.get_layer("stem")
    assert stem.dtype_policy.name == precision


def test_an_overflow_is_skipped_and_halves_the_loss_scale():
    before, _, trainer = after_steps("precision=mixed_float16", steps=1)
    optimizer = trainer.optimizer
    optimizer.dynamic_scale.assign(1e38)
    images = tf.ones((2, 32, 32, 3))
    trainer.train_step((images, tf.one_hot([0, 1], 10)))
    assert largest_gap(before, [values(trainer.network)]) == 0
    assert float(optimizer.dynamic_scale) == pytest.approx(0.5e38)


def test_class_weights_multiply_the_loss_of_their_images():
    class Source:
        names = tuple("abcdefghij")

    config = small("class_weights={b: 3, c: 0.5}", "label_smoothing=0")
    task = Classification(config, Source())
    plain = Classification(small("label_smoothing=0"), Source())
    labels = tf.constant(np.eye(10)[[0, 1, 2]], tf.float32)
    labels = tf.concat([labels, (labels[1:2] + labels[2:3]) / 2], 0)
    scores = tf.nn.softmax(tf.random.stateless_normal((4, 10), (1, 2)))
    found, expected = (
        t.losses(lambda *_, training: scores, None, labels, True)["loss"]
        for t in (task, plain)
    )
    np.testing.assert_allclose(found / expected, [1, 3, 0.5, 1.75], rtol=1e-6)
    with pytest.raises(ValueError, match="must name classes.*Received: 'z'"):
        Classification(small("class_weights={z: 3}"), Source()).check()


def test_balanced_weights_are_the_inverse_of_the_counts(digits):
    task = Classification(small("class_weights=balanced"), digits)
    labels = digits.examples("train").map(digits.load)
    labels = [int(label) for _, label in labels.as_numpy_iterator()]
    weights = task.class_weights
    expected = compute_class_weight(
        "balanced", classes=np.arange(10), y=np.array(labels)
    )
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
