"""The smallest run of the tests."""

from gcvit_training import read_config

SMALL = (
    "epochs=3",
    "optimizer.warmup_epochs=0",
    "data.batch_size=256",
    "model.embed_dim=8",
    "model.depths=[1, 1, 1, 1]",
    "model.num_heads=[1, 1, 1, 1]",
)


def small(*overrides):
    """`digits` for a model that trains in seconds."""
    return read_config("digits", [*SMALL, *overrides])
