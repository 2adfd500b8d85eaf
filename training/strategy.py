"""Where a run computes."""

import tensorflow as tf


def choose_strategy():
    """The `tf.distribute` strategy for the devices this machine has.

    Returns:
        `MirroredStrategy` over all GPUs where there are several, else
        `OneDeviceStrategy` on the GPU, or on the CPU.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")
