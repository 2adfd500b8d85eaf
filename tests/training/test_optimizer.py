"""AdamW: its rate, its decay, its factors."""

import keras
import numpy as np
import pytest
from recipe import small

from gcvit_training.optimizer import LayerwiseAdamW, adamw, layer_scales


def rates(config, steps, steps_per_epoch=5):
    optimizer = adamw(config, steps_per_epoch)
    optimizer.build([keras.Variable([1.0])])
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_the_rate_warms_up_follows_a_cosine_and_stays():
    config = small(
        "epochs=12",
        "optimizer.warmup_epochs=2",
        "optimizer.cooldown_epochs=2",
        "optimizer.learning_rate=1e-2",
        "optimizer.final_learning_rate=1e-4",
    )
    middle = (1e-2 + 1e-4) / 2
    np.testing.assert_allclose(
        rates(config, (0, 5, 10, 30, 50, 60)),
        [1e-5, (1e-5 + 1e-2) / 2, 1e-2, middle, 1e-4, 1e-4],
        rtol=1e-5,
    )


def test_the_rate_is_scaled_with_the_batch():
    config = small(
        "optimizer.reference_batch_size=1024",
        "optimizer.learning_rate=8e-3",
        "optimizer.final_learning_rate=8e-4",
    )
    first, last = rates(config, (0, 15))
    assert (first, last) == pytest.approx((2e-3, 2e-4))


def test_norms_biases_scales_and_position_tables_do_not_decay(nano):
    model = nano(layer_scale=1e-5)
    optimizer = adamw(small(), 5)
    optimizer.build(model.trainable_variables)
    decayed = {
        v.path.split("/")[-1]
        for v in model.trainable_variables
        if optimizer._use_weight_decay(v)
    }
    assert decayed == {"kernel"}


def test_without_factors_it_is_adamw():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype("float32") for s in ((3, 4), (5,))]
    variables = [keras.Variable(w) for w in weights]
    optimizer = LayerwiseAdamW(1e-2, weight_decay=0.1, global_clipnorm=1.0)
    optimizer.build(variables)
    # What float32 makes of the betas: 1 - 0.999 is off by 5e-5.
    beta_1, beta_2 = float(np.float32(0.9)), float(np.float32(0.999))
    m = [np.zeros(w.shape) for w in weights]
    v = [np.zeros(w.shape) for w in weights]
    weights = [w.astype("float64") for w in weights]
    for t in range(1, 6):
        gradients = [
            rng.normal(size=w.shape).astype("float32") for w in weights
        ]
        optimizer.apply(
            [keras.ops.convert_to_tensor(g) for g in gradients], variables
        )
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in gradients))
        for i, gradient in enumerate(gradients):
            g = gradient / max(1, norm)
            m[i] = beta_1 * m[i] + (1 - beta_1) * g
            v[i] = beta_2 * v[i] + (1 - beta_2) * g**2
            # Keras's epsilon is the "hat" one of arXiv 1412.6980, section 2.
            rate = 1e-2 * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            weights[i] -= 1e-2 * 0.1 * weights[i]
            weights[i] -= rate * m[i] / (np.sqrt(v[i]) + 1e-7)
    for expected, found in zip(weights, variables, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=5e-7)


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="`amsgrad` must be False"):
        LayerwiseAdamW(1e-3, amsgrad=True)


def test_without_a_global_norm_keras_clips():
    optimizer = LayerwiseAdamW(1e-3, clipvalue=0.5)
    (clipped,) = optimizer._clip_gradients([keras.ops.ones(3)])
    np.testing.assert_array_equal(clipped, np.full(3, 0.5))


def test_factors_multiply_the_rate_and_the_decay():
    variables = [keras.Variable([1.0], name=name) for name in "ab"]
    optimizer = LayerwiseAdamW(1e-2, weight_decay=0.5)
    optimizer.scales = {variables[1].path: 0.25}
    optimizer.build(variables)
    one = keras.ops.convert_to_tensor([1.0])
    optimizer.apply([one, one], variables)
    # The first step of Adam moves by the rate, and decays before.
    moved = [1 - float(v.numpy()[0]) for v in variables]
    np.testing.assert_allclose(
        moved, [1e-2 * 1.5, 0.25 * 1e-2 * 1.5], rtol=1e-3
    )


def test_layer_scales_fall_from_the_head_to_the_stem(nano):
    model = nano()
    scales = layer_scales(model, 0.5)
    assert set(scales) == {v.path for v in model.trainable_variables}

    def of(layer):
        (found,) = {
            scales[v.path] for v in model.get_layer(layer).trainable_variables
        }
        return found

    assert of("predictions") == 1
    assert of("norm") == of("level_3_block_1") == 0.5
    assert of("level_3_block_0") == 0.5**2
    assert of("level_2_downsample") == 0.5**2
    assert of("level_2_block_1") == 0.5**3
    assert of("stem") == of("level_0_block_0") == 0.5**8
