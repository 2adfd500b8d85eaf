"""Initial values that the heads of detectors and segmenters share."""

import keras


def relu_initializer():
    """Makes Kaiming's normal by outgoing connections (arXiv 1502.01852)."""
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_out", distribution="untruncated_normal"
    )
