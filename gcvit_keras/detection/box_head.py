"""Box heads: the class of a proposal, and its box once more."""

import keras
from keras import ops

from gcvit_keras.layers.batch_norm import BatchNorm
from gcvit_keras.layers.initializers import relu_initializer


class _BoxHead(keras.layers.Layer):
    """The base of box heads: a classifier and a regressor at their end."""

    def __init__(self, num_classes, fc_channels=1024, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.fc_channels = fc_channels

    def _build_ends(self):
        self.classifier = self._dense("classifier", self.num_classes + 1, 0.01)
        self.regressor = self._dense("regressor", 4 * self.num_classes, 0.001)
        self.classifier.build((None, self.fc_channels))
        self.regressor.build((None, self.fc_channels))

    def _dense(self, name, units, stddev=None):
        normal = keras.initializers.RandomNormal(stddev=stddev or 1)
        return keras.layers.Dense(
            units,
            activation=None if stddev else "relu",
            kernel_initializer=normal if stddev else "glorot_uniform",
            dtype=self.dtype_policy,
            name=name,
        )

    def _end(self, x):
        deltas = ops.reshape(self.regressor(x), (-1, self.num_classes, 4))
        return (
            ops.cast(self.classifier(x), "float32"),
            ops.cast(deltas, "float32"),
        )

    def compute_output_shape(self, inputs_shape):
        rows = inputs_shape[0]
        return (rows, self.num_classes + 1), (rows, self.num_classes, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "fc_channels": self.fc_channels,
        }


@keras.saving.register_keras_serializable("gcvit_keras")
class BoxHead(_BoxHead):
    """Two dense layers with ReLU (Feature Pyramid Networks, section 4.2).

    Args:
        num_classes: Classes without the background, an integer.
        fc_channels: Width of the dense layers, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(rois, 7, 7, channels)`, from RoIAlign.
        training: Not used.
        is_used: Not used.

    Returns:
        Tuple of float32 tensors: logits `(rois, num_classes + 1)`, of which
        the background is the last, and deltas `(rois, num_classes, 4)`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.detection import BoxHead
    >>> head = BoxHead(num_classes=80, fc_channels=16)
    >>> logits, deltas = head(keras.ops.zeros((2, 7, 7, 8)))
    >>> print(tuple(logits.shape), tuple(deltas.shape))
    (2, 81) (2, 80, 4)
    """

    def build(self, inputs_shape):
        _, height, width, channels = inputs_shape
        self.dense_0 = self._dense("dense_0", self.fc_channels)
        self.dense_1 = self._dense("dense_1", self.fc_channels)
        self.dense_0.build((None, height * width * channels))
        self.dense_1.build((None, self.fc_channels))
        self._build_ends()

    def call(self, inputs, training=None, is_used=None):
        x = ops.reshape(inputs, (-1, self.dense_0.kernel.shape[0]))
        return self._end(self.dense_1(self.dense_0(x)))


@keras.saving.register_keras_serializable("gcvit_keras")
class ConvBoxHead(_BoxHead):
    """Four 3x3 convolutions with batch norm, then one dense layer.

    The head of each stage of the cascade (as of Group Normalization, arXiv
    1803.08494, section 4.2, with batch norm).

    Args:
        num_classes: Classes without the background, an integer.
        fc_channels: Width of the dense layer, an integer.
        filters: Channels of the convolutions, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(rois, 7, 7, channels)`, from RoIAlign.
        training: Whether batch norm uses, and follows, the batch.
        is_used: Boolean tensor `(rois,)`: which rows batch norm looks at; all
            by default.

    Returns:
        As `BoxHead`.

    Examples:
    >>> import keras
    >>> from gcvit_keras.detection import ConvBoxHead
    >>> head = ConvBoxHead(num_classes=80, fc_channels=16, filters=8)
    >>> logits, deltas = head(keras.ops.zeros((2, 7, 7, 8)))
    >>> print(tuple(logits.shape), tuple(deltas.shape))
    (2, 81) (2, 80, 4)
    """

    def __init__(self, num_classes, fc_channels=1024, filters=256, **kwargs):
        super().__init__(num_classes, fc_channels, **kwargs)
        self.filters = filters

    def build(self, inputs_shape):
        _, height, width, channels = inputs_shape
        self.convs, self.norms = [], []
        for i in range(4):
            conv = keras.layers.Conv2D(
                self.filters,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=relu_initializer(),
                dtype=self.dtype_policy,
                name=f"conv_{i}",
            )
            norm = BatchNorm(dtype=self.dtype_policy, name=f"norm_{i}")
            conv.build((None, height, width, channels))
            norm.build((None, height, width, self.filters))
            self.convs.append(conv)
            self.norms.append(norm)
            channels = self.filters
        self.dense = self._dense("dense", self.fc_channels)
        self.dense.build((None, height * width * channels))
        self._build_ends()

    def call(self, inputs, training=None, is_used=None):
        x = inputs
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x), training=training, is_used=is_used)
            x = ops.relu(x)
        x = ops.reshape(x, (-1, self.dense.kernel.shape[0]))
        return self._end(self.dense(x))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
