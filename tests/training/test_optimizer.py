"""AdamW: its rate, its decay, its factors."""

import contextlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from recipe import small

from gcvit_training.optimizer import (
    LayerwiseAdamW,
    Schedule,
    adamw,
    layer_scales,
)


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
            root = np.sqrt(v[i] / (1 - beta_2**t)) + 1e-7
            weights[i] -= 1e-2 * 0.1 * weights[i]
            weights[i] -= 1e-2 * m[i] / (1 - beta_1**t) / root
    for expected, found in zip(weights, variables, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=5e-7)


def test_a_variable_that_joins_later_moves_by_the_rate():
    # Ours to be seen: with one count for all it moved by 3.4 times the rate.
    early, late = (keras.Variable(np.zeros(3, "float32")) for _ in range(2))
    optimizer = LayerwiseAdamW(1e-3, weight_decay=0.0)
    optimizer.build([late, early])
    one = keras.ops.ones(3)
    for _ in range(70):
        optimizer.apply([one], [early])
    for _ in range(40):
        before = late.numpy()
        optimizer.apply([one, one], [late, early])
        moved = before - late.numpy()
        np.testing.assert_allclose(moved, 1e-3, rtol=1e-3)
    assert list(optimizer.counts.numpy()) == [40, 110]


def test_the_rate_rises_again_when_the_rest_joins_in():
    config = small(
        "epochs=8",
        "optimizer.warmup_epochs=2",
        "optimizer.freeze_epochs=3",
        "optimizer.learning_rate=1e-2",
    )
    np.testing.assert_allclose(
        rates(config, (0, 10, 14, 15, 20, 25, 40)),
        [1e-5, 1e-2, 1e-2, 1e-5, 5.005e-3, 1e-2, 0],
        rtol=1e-5,
        atol=1e-9,
    )


def nano_gradients(model, step):
    """Gradients of each size that training meets, from 1e-9 to 1."""
    rng = np.random.default_rng(step)
    return [
        (10.0 ** rng.uniform(-9, 0) * rng.normal(size=v.shape)).astype(
            "float32"
        )
        for v in model.trainable_variables
    ]


def test_twenty_recorded_steps_are_pytorchs():
    # Of tests/data/reference/adamw.py, with layer scales of 1e-5.
    path = Path(__file__).parent.parent / "data" / "reference" / "adamw.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    names = [n.split()[-1] for n in arrays if n.startswith("first")]
    variables = []
    for name in names:
        *scopes, last = name.split("/")
        with contextlib.ExitStack() as inside:
            for scope in scopes:
                inside.enter_context(keras.name_scope(scope))
            value = arrays[f"first {name}"]
            variables.append(keras.Variable(value, name=last))
    assert [v.path for v in variables] == names
    optimizer = adamw(
        small(
            "optimizer.learning_rate=2e-3",
            "optimizer.final_learning_rate=2e-3",
            "optimizer.weight_decay=0.1",
            "optimizer.gradient_norm=0.7",
        ),
        100,
    )
    optimizer.build(variables)
    for step in range(20):
        gradients = [arrays[f"gradient {step} {name}"] for name in names]
        optimizer.apply([tf.constant(g) for g in gradients], variables)
    for name, variable in zip(names, variables, strict=True):
        np.testing.assert_allclose(
            variable.numpy(), arrays[f"last {name}"], atol=2e-6, err_msg=name
        )


@pytest.mark.slow  # which has PyTorch; recorded steps are above
@pytest.mark.torch
def test_twenty_steps_of_a_network_are_pytorchs(nano):
    torch = pytest.importorskip("torch")
    keras.utils.set_random_seed(3)
    model = nano(depths=(1, 2, 1, 1), layer_scale=1e-5, input_shape=(32, 32, 3))
    config = small(
        "optimizer.learning_rate=2e-3",
        "optimizer.final_learning_rate=2e-3",
        "optimizer.weight_decay=0.1",
        "optimizer.gradient_norm=0.7",
    )
    optimizer = adamw(config, 100, model)
    optimizer.build(model.trainable_variables)
    twins = [
        torch.nn.Parameter(torch.from_numpy(v.numpy().copy()))
        for v in model.trainable_variables
    ]
    # timm's `param_groups_weight_decay`, with GC ViT's `no_weight_decay`.
    groups = {0.0: [], 0.1: []}
    for variable, twin in zip(model.trainable_variables, twins, strict=True):
        kept = twin.ndim <= 1 or "relative_position" in variable.path
        groups[0.0 if kept else 0.1].append(twin)
    theirs = torch.optim.AdamW(
        [{"params": p, "weight_decay": w} for w, p in groups.items()], 2e-3
    )
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    labels = tf.one_hot([1, 2, 3, 4], 10)
    for step in range(20):
        if step % 2:
            gradients = nano_gradients(model, step)
        else:
            with tf.GradientTape() as tape:
                scores = model(images, training=False)
                loss = keras.losses.categorical_crossentropy(labels, scores)
            gradients = [
                np.asarray(tf.convert_to_tensor(g))
                for g in tape.gradient(loss, model.trainable_variables)
            ]
        optimizer.apply(
            [tf.constant(g) for g in gradients], model.trainable_variables
        )
        for twin, gradient in zip(twins, gradients, strict=True):
            twin.grad = torch.from_numpy(gradient.copy())
        torch.nn.utils.clip_grad_norm_(twins, 0.7)
        theirs.step()
    moved = 0
    for variable, twin in zip(model.trainable_variables, twins, strict=True):
        np.testing.assert_allclose(
            variable.numpy(),
            twin.detach().numpy(),
            atol=1e-5,
            err_msg=variable.path,
        )
        moved += variable.path.endswith("gamma")
    assert moved > 10


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


def test_a_rate_in_steps_is_that_of_the_published_detectors():
    """36 epochs, a tenth after the 27th and the 33rd; 2500 steps of rise."""
    schedule = Schedule(
        1e-4,
        0.0,
        steps=36_000,
        warmup_steps=2500,
        kind="steps",
        decay_steps=[27_000, 33_000],
    )

    def by_mmcv(step):
        rate = 1e-4 * 0.1 ** ((step >= 27_000) + (step >= 33_000))
        if step < 2500:  # its `LinearLR`, or `warmup="linear"`
            rate *= 1 - (1 - step / 2500) * (1 - 0.001)
        return rate

    for step in (
        0,
        1,
        1250,
        2499,
        2500,
        26_999,
        27_000,
        32_999,
        33_000,
        36_000,
    ):
        assert float(schedule(step)) == pytest.approx(by_mmcv(step), rel=1e-5)


def test_a_rate_falls_as_a_power():
    schedule = Schedule(1.0, 0.1, 110, warmup_steps=10, kind="poly", power=0.9)
    for step in (10, 35, 60, 110, 120):
        left = max(0.0, 1 - (step - 10) / 100)
        expected = 0.1 + 0.9 * left**0.9
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["optimizer.schedule=steps"],
            "`optimizer.decay_epochs` must be given",
        ),
        (["optimizer.decay_epochs=[1]"], "schedule=cosine, decay_epochs=.1."),
        (
            ["optimizer.schedule=steps", "optimizer.decay_epochs=[1, 3]"],
            "`optimizer.decay_epochs` must be below `epochs`.*epochs=3",
        ),
        (
            ["optimizer.warmup_steps=3", "optimizer.warmup_epochs=1"],
            "`optimizer.warmup_steps` must be null with",
        ),
    ],
)
def test_settings_of_a_rate_that_contradict_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        small(*overrides)


def test_warm_up_is_counted_in_steps_and_clipping_can_be_left_out():
    overrides = ["optimizer.warmup_steps=7", "optimizer.warmup_epochs=0"]
    config = small(*overrides, "optimizer.gradient_norm=null")
    optimizer = adamw(config, 5)
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in range(9)]
    assert rates[6] < rates[7] > rates[8]
    assert optimizer.global_clipnorm is None
