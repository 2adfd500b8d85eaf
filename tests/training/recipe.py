"""The smallest run of the tests."""

import tensorflow as tf

from gcvit_training import read_config

SMALL = (
    "epochs=3",
    "optimizer.warmup_epochs=0",
    "data.batch_size=256",
    "model.embed_dim=8",
    "model.depths=[1, 1, 1, 1]",
    "model.num_heads=[1, 1, 1, 1]",
)

FEW = (
    "data.train_split=train[:6%]",
    "data.evaluation_split=test[:32]",
    "data.batch_size=16",
)
"""86 of the digits, in five steps per epoch as well."""

IN_TURN = tf.data.Options()
IN_TURN.threading.private_threadpool_size = 1
"""One example after the other: of several threads each prepares the functions
of the pipeline for itself, which takes a second."""


def small(*overrides):
    """`digits` for a model that trains in seconds."""
    return read_config("digits", [*SMALL, *overrides])
