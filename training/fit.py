"""A run, from its configuration to a trained model."""

import keras

from gcvit_keras import GCViT
from training.data import prepare, training_batches
from training.optimizer import adamw
from training.strategy import choose_strategy


def train(
    config, data_dir, strategy=None, callbacks=(), verbose="auto"
) -> keras.Model:
    """Trains a GC ViT with `model.fit`.

    Args:
        config: A `RunConfig`.
        data_dir: Folder of prepared datasets; made where missing.
        strategy: A `tf.distribute.Strategy`. Default: the one for the
            devices of this machine.
        callbacks: As of `model.fit`.
        verbose: As of `model.fit`.

    Returns:
        The trained, compiled `keras.Model`: images `(batch, size, size, 3)`,
        pixels in [0, 255], to probabilities `(batch, classes)`.

    Raises:
        ValueError: If there is no such dataset or split, the batch is larger
            than the training split, or the replicas do not divide it.
    """
    strategy = strategy or choose_strategy()
    replicas = strategy.num_replicas_in_sync
    if config.data.batch_size % replicas:
        raise ValueError(
            f"`data.batch_size` must be a multiple of the {replicas} replicas. "
            f"Received: batch_size={config.data.batch_size}"
        )
    keras.utils.set_random_seed(config.seed)
    builder = prepare(config.data.dataset, data_dir)
    for field in ("train_split", "evaluation_split"):
        split = getattr(config.data, field)
        try:
            builder.info.splits[split]
        except (KeyError, ValueError):
            raise ValueError(
                f"`data.{field}` must be one of {sorted(builder.info.splits)} "
                f"or part of one, as TFDS writes it. Received: {split!r}"
            ) from None
    images = builder.info.splits[config.data.train_split].num_examples
    steps_per_epoch = images // config.data.batch_size
    if not steps_per_epoch:
        raise ValueError(
            f"`data.batch_size` must be at most the {images} training images. "
            f"Received: batch_size={config.data.batch_size}"
        )
    # Outside the scope: the pipeline runs on the CPU, once for all replicas.
    batches = training_batches(builder, config)
    with strategy.scope():
        model = GCViT(
            **config.model.model_dump(),
            input_shape=(config.data.image_size, config.data.image_size, 3),
            classes=builder.info.features["label"].num_classes,
        )
        model.compile(
            optimizer=adamw(config, steps_per_epoch),
            loss=keras.losses.CategoricalCrossentropy(
                label_smoothing=config.label_smoothing
            ),
            metrics=["accuracy"],
            # XLA on the CPU is 2.5 times slower for this model.
            jit_compile=False,
        )
        model.fit(
            batches,
            epochs=config.epochs,
            shuffle=False,  # the pipeline does
            callbacks=list(callbacks),
            verbose=verbose,
        )
    return model
