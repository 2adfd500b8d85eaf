"""AdamW and its rate: a cosine, as GC ViT was trained (paper section 4)."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from gcvit_keras.models import structure

NOT_DECAYED = ("beta", "bias", "gamma")
"""Parts of the names of variables without weight decay; the position tables
are `relative_position_bias_table`."""


@keras.saving.register_keras_serializable("gcvit_keras")
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW as PyTorch computes it, with a rate for each variable.

    Three things are other than in `keras.optimizers.AdamW` of Keras 3.15:

    - Every variable counts its own steps. Adam divides its moments by
      `1 - beta ** steps`; with the optimizer's count a variable that is
      unfrozen later, whose moments are new, would move up to
      `(1 - beta_1) / sqrt(1 - beta_2)` = 3.2 times the rate and more.
    - Epsilon is added to the corrected root, `sqrt(v / (1 - beta_2 ** t))`
      (arXiv 1412.6980, algorithm 1), not to `sqrt(v)`.
    - Gradients are the same on every replica already, and not summed. Keras
      sums them after each replica has clipped its own, so that what is clipped
      depends on how many replicas there are.

    Args:
        *args: Of `keras.optimizers.AdamW`, without `amsgrad`.
        **kwargs: Of `keras.optimizers.AdamW`.

    Attributes:
        scales: Factor on the rate, and so on the weight decay, of variables
            by path; 1 where there is none.
        counts: Variable `(variables,)`, the steps that each was moved in.

    Raises:
        ValueError: If `amsgrad` is true.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False. Received: amsgrad=True")
        self.scales = {}

    def build(self, variables):
        """Makes the moments and counts, and finds each variable's factor."""
        if self.built:
            return
        super().build(variables)
        self.counts = keras.Variable(
            np.zeros(len(variables)),
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="counts",
        )
        self._track_variable(self.counts)
        self._scale_of = {
            self._var_key(v): self.scales.get(v.path, 1.0) for v in variables
        }

    def apply(self, grads, trainable_variables=None):
        """Moves variables, one step each."""
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        moved = np.zeros(len(self._trainable_variables), "int64")
        for variable in trainable_variables:
            moved[self._get_variable_index(variable)] = 1
        self.counts.assign_add(moved)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decays a variable, then moves it: one pass over memory each."""
        rate = learning_rate * self._scale_of[self._var_key(variable)]
        rate = tf.cast(rate, tf.float32)
        handle = variable.handle
        if self._use_weight_decay(variable):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=handle,
                alpha=rate * self.weight_decay,
                delta=tf.convert_to_tensor(variable),
            )
        index = self._get_variable_index(variable)
        step = tf.cast(tf.convert_to_tensor(self.counts)[index], tf.float32)
        beta_2_power = self.beta_2**step
        tf.raw_ops.ResourceApplyAdam(
            var=handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=self.beta_1**step,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            # The operation adds it to the root before the correction.
            epsilon=self.epsilon * tf.sqrt(1 - beta_2_power),
            grad=gradient,
        )

    def _clip_gradients(self, gradients):
        if self.global_clipnorm is None:
            return super()._clip_gradients(gradients)
        return tf.clip_by_global_norm(gradients, self.global_clipnorm)[0]

    def _apply_weight_decay(self, variables):
        """Is done in `update_step`."""

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


def adamw(config, steps_per_epoch, model=None, not_decayed=()):
    """Makes the optimizer of a run.

    Args:
        config: A `RunConfig`.
        steps_per_epoch: Steps per epoch, a positive integer.
        model: The GC ViT, for `optimizer.layer_decay`.
        not_decayed: Variables without weight decay; those of `NOT_DECAYED`
            names where there are none.

    Returns:
        `LayerwiseAdamW` with a `Schedule`.
    """
    settings = config.optimizer
    rate = settings.learning_rate
    if settings.reference_batch_size:
        rate *= config.data.batch_size / settings.reference_batch_size
    frozen = settings.freeze_epochs
    if frozen >= config.epochs:
        frozen = 0  # only the head, all the time
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = settings.warmup_epochs * steps_per_epoch
    optimizer = LayerwiseAdamW(
        Schedule(
            rate,
            final_rate=rate
            * settings.final_learning_rate
            / settings.learning_rate,
            steps=(config.epochs - settings.cooldown_epochs) * steps_per_epoch,
            warmup_steps=warmup,
            frozen_steps=frozen * steps_per_epoch,
            kind=settings.schedule,
            power=settings.poly_power,
            decay_steps=[e * steps_per_epoch for e in settings.decay_epochs],
            decay_factor=settings.decay_factor,
            warmup_factor=settings.warmup_factor,
        ),
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.gradient_norm,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        epsilon=settings.epsilon,
    )
    if not_decayed:
        optimizer.exclude_from_weight_decay(var_list=not_decayed)
    else:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    if settings.layer_decay < 1:
        optimizer.scales = layer_scales(model, settings.layer_decay)
    return optimizer


@keras.saving.register_keras_serializable("gcvit_keras")
@dataclasses.dataclass(eq=False)
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly, then falls.

    While most of a model is frozen the rate rises, and stays; it rises anew
    when the rest joins in, whose first steps would otherwise be the largest.

    Args:
        rate: Highest rate.
        final_rate: Rate at the end of a cosine or a power, and after it.
        steps: Steps to that end, all phases together.
        warmup_steps: Steps in which the rate rises.
        frozen_steps: First steps, in which most of the model is frozen.
        kind: How it falls: `"cosine"`; `"poly"`, as a power of the share of
            steps that is left; or `"steps"`, at some steps only.
        power: Power of `"poly"`.
        decay_steps: Steps, from the first on, at which `"steps"` multiplies
            the rate by `decay_factor`.
        decay_factor: Factor in (0, 1].
        warmup_factor: Share of the rate that the rise begins with.

    Examples:
    >>> from gcvit_training.optimizer import Schedule
    >>> schedule = Schedule(1.0, 0.0, 100, warmup_steps=20, frozen_steps=10)
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 30, 65, 100)]
    [0.001, 0.451, 0.001, 1.0, 0.5, 0.0]
    """

    rate: float
    final_rate: float
    steps: int
    warmup_steps: int = 0
    frozen_steps: int = 0
    kind: str = "cosine"
    power: float = 1.0
    decay_steps: Sequence[int] = ()
    decay_factor: float = 0.1
    warmup_factor: float = 1e-3

    def __call__(self, step):
        """Computes the rate of a step, a scalar float32 tensor."""
        step = tf.cast(tf.convert_to_tensor(step), tf.float32)
        frozen = step < float(self.frozen_steps)
        since = tf.where(frozen, step, step - float(self.frozen_steps))
        falling = self._falling(step, since)
        if not self.warmup_steps:
            return tf.where(frozen, self.rate, falling)
        risen = since / self.warmup_steps
        least = self.warmup_factor
        # Of `steps` the rate may have fallen while it still rises.
        highest = falling if self.kind == "steps" else self.rate
        rising = highest * (least + (1 - least) * risen)
        return tf.where(risen < 1, rising, tf.where(frozen, self.rate, falling))

    def _falling(self, step, since):
        """The rate without the rise."""
        if self.kind == "steps":
            passed = tf.constant(self.decay_steps, tf.float32) <= step
            times = tf.reduce_sum(tf.cast(passed, tf.float32))
            return self.rate * self.decay_factor**times
        falls = max(1, self.steps - self.frozen_steps - self.warmup_steps)
        done = tf.clip_by_value((since - self.warmup_steps) / falls, 0.0, 1.0)
        if self.kind == "poly":
            share = (1 - done) ** self.power
        else:
            share = 0.5 * (1 + tf.cos(math.pi * done))
        return self.final_rate + (self.rate - self.final_rate) * share

    def get_config(self):
        """Returns the arguments."""
        return dataclasses.asdict(self)


def layer_scales(model, decay):
    """Factors on the rate that fall from the head to the stem.

    Blocks are counted from the input; what comes before a block has its
    factor, and the final norm that of the last (arXiv 2106.08254, appendix).

    Args:
        model: A GC ViT.
        decay: Factor from one block to the one before it, in (0, 1].

    Returns:
        Factor by variable path: 1 for the head, `decay` for the last block
        and the final norm, `decay ** 2` for the block before it, and so on.
    """
    groups = structure.depth_groups(model)
    return {
        variable.path: decay ** (len(groups) - 1 - place)
        for place, layers in enumerate(groups)
        for layer in layers
        for variable in layer.trainable_variables
    }
