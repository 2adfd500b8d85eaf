"""AdamW on a cosine, as GC ViT was trained (paper section 4)."""

import re

import keras
import tensorflow as tf

NOT_DECAYED = ("beta", "bias", "gamma")
"""Parts of the names of variables without weight decay; the position tables
are `relative_position_bias_table`."""


@keras.saving.register_keras_serializable("gcvit_keras")
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW with a rate for each variable, on gradients summed already.

    Keras 3.15 clips the gradients of each replica and sums them after that,
    so that what is clipped depends on how many replicas there are. This one
    takes gradients that are the same on every replica and does not sum them.

    Args:
        *args: Of `keras.optimizers.AdamW`, without `amsgrad`.
        **kwargs: Of `keras.optimizers.AdamW`.

    Attributes:
        scales: Factor on the rate, and so on the weight decay, of variables
            by path; 1 where there is none.

    Raises:
        ValueError: If `amsgrad` is true.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise ValueError("`amsgrad` must be False. Received: amsgrad=True")
        self.scales = {}

    def build(self, variables):
        """Makes the moments, and finds each variable's factor."""
        super().build(variables)
        self._scale_of = {
            self._var_key(v): self.scales.get(v.path, 1.0) for v in variables
        }

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
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
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


def adamw(config, steps_per_epoch, model=None):
    """The optimizer of a run.

    Args:
        config: A `RunConfig`.
        steps_per_epoch: Steps an epoch, a positive integer.
        model: The GC ViT, for `optimizer.layer_decay`.

    Returns:
        `LayerwiseAdamW`, its rate warmed up linearly, then following a cosine
        to the final rate, where it stays for the cool-down.
    """
    settings = config.optimizer
    warmup = settings.warmup_epochs * steps_per_epoch
    cooldown = settings.cooldown_epochs * steps_per_epoch
    rate = settings.learning_rate
    if settings.reference_batch_size:
        rate *= config.data.batch_size / settings.reference_batch_size
    schedule = keras.optimizers.schedules.CosineDecay(
        # An integer 0 to start from raises a dtype error in Keras 3.15.
        rate * 1e-3 if warmup else rate,
        decay_steps=max(1, config.epochs * steps_per_epoch - warmup - cooldown),
        alpha=settings.final_learning_rate / settings.learning_rate,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = LayerwiseAdamW(
        schedule,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.gradient_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    if settings.layer_decay < 1:
        optimizer.scales = layer_scales(model, settings.layer_decay)
    return optimizer


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
    blocks = [
        layer.name
        for layer in model.layers
        if re.fullmatch(r"level_\d_block_\d+", layer.name)
    ]
    scales, next_block = {}, 0
    for layer in model.layers:
        depth = len(blocks) - min(next_block, len(blocks) - 1)
        if layer.name in blocks:
            next_block += 1
        power = 0 if layer.name == "predictions" else depth
        for variable in layer.trainable_variables:
            scales[variable.path] = decay**power
    return scales


def global_sum(gradients):
    """Sums gradients over all replicas, in replica context."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
