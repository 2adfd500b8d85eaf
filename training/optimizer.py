"""AdamW on a cosine, as GC ViT was trained (paper section 4)."""

import keras

NOT_DECAYED = ("beta", "bias", "gamma")
"""Parts of the names of variables without weight decay; the position tables
are `relative_position_bias_table`."""


def adamw(config, steps_per_epoch):
    """The optimizer of a run.

    Args:
        config: A `RunConfig`.
        steps_per_epoch: Steps an epoch, a positive integer.

    Returns:
        `keras.optimizers.AdamW`, its rate warmed up linearly, then following
        a cosine to 0 at the last step.
    """
    warmup = config.optimizer.warmup_epochs * steps_per_epoch
    rate = config.optimizer.learning_rate
    schedule = keras.optimizers.schedules.CosineDecay(
        # An integer 0 to start from raises a dtype error in Keras 3.15.
        rate * 1e-3 if warmup else rate,
        decay_steps=max(1, config.epochs * steps_per_epoch - warmup),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.optimizer.weight_decay,
        global_clipnorm=config.optimizer.gradient_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer
