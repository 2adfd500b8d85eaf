"""The auxiliary head (FCN, arXiv 1411.4038; PSPNet, section 3.3)."""

import keras

from gcvit_keras.segmentation.conv_norm import ConvNorm


def pixel_classifier(num_classes, dtype):
    """Makes the 1x1 convolution that gives each pixel its logits.

    Under mixed precision these stay float32, as Keras's guide asks.
    """
    policy = keras.dtype_policies.get(dtype)
    return keras.layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype=policy.variable_dtype,
        name="classifier",
    )


@keras.saving.register_keras_serializable("gcvit_keras")
class FCNHead(keras.layers.Layer):
    """Classifies the pixels of one map: a 3x3 convolution, dropout, a 1x1.

    Args:
        num_classes: Number of classes, an integer.
        filters: Channels of the convolution, an integer.
        dropout: Share of the channels that are dropped in training.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(batch, height, width, channels)`.
        training: Whether batch normalisation follows and channels are dropped.

    Returns:
        Float32 tensor `(batch, height, width, num_classes)` of logits.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import FCNHead
    >>> FCNHead(5, filters=8)(np.zeros((1, 4, 6, 16))).shape
    TensorShape([1, 4, 6, 5])
    """

    def __init__(self, num_classes, filters=256, dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.filters = filters
        self.dropout = dropout

    def build(self, inputs_shape):
        self.conv = ConvNorm(
            self.filters, 3, dtype=self.dtype_policy, name="conv"
        )
        self.drop = keras.layers.SpatialDropout2D(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )
        self.classifier = pixel_classifier(self.num_classes, self.dtype_policy)
        self.conv.build(inputs_shape)
        self.classifier.build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        x = self.conv(inputs, training=training)
        return self.classifier(self.drop(x, training=training))

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.num_classes)

    def compute_output_spec(self, inputs, training=None):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.classifier.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "filters": self.filters,
            "dropout": self.dropout,
        }
