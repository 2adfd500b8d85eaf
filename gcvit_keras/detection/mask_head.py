"""The mask head (Mask R-CNN, arXiv 1703.06870, figure 4, right)."""

import keras
from keras import ops

from gcvit_keras.layers.initializers import relu_initializer


@keras.saving.register_keras_serializable("gcvit_keras")
class MaskHead(keras.layers.Layer):
    """Predicts a mask per class in each box.

    Four 3x3 convolutions with ReLU, a transposed one that doubles the size,
    with ReLU, and a 1x1 convolution.

    Args:
        num_classes: Classes without the background, an integer.
        filters: Channels of the convolutions, an integer.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor `(rois, 14, 14, channels)`, from RoIAlign.
        classes: Integer tensor `(rois,)`: the class of each row, in [0,
            `num_classes`).

    Returns:
        Float32 tensor `(rois, 28, 28)`: logits of the map of each row's class;
        without `classes`, `(rois, 28, 28, num_classes)`.

    Examples:
    >>> import keras, numpy as np
    >>> from gcvit_keras.detection import MaskHead
    >>> head = MaskHead(num_classes=80, filters=8)
    >>> regions = keras.ops.zeros((2, 14, 14, 8))
    >>> print(tuple(head(regions).shape))
    (2, 28, 28, 80)
    >>> print(tuple(head(regions, classes=np.array([3, 7])).shape))
    (2, 28, 28)
    """

    def __init__(self, num_classes, filters=256, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.filters = filters

    def build(self, inputs_shape, classes_shape=None):
        channels = inputs_shape[-1]
        self.convs = []
        for i in range(4):
            conv = keras.layers.Conv2D(
                self.filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=relu_initializer(),
                dtype=self.dtype_policy,
                name=f"conv_{i}",
            )
            conv.build((None, None, None, channels))
            self.convs.append(conv)
            channels = self.filters
        self.upsample = keras.layers.Conv2DTranspose(
            self.filters,
            2,
            strides=2,
            activation="relu",
            kernel_initializer=relu_initializer(),
            dtype=self.dtype_policy,
            name="upsample",
        )
        self.classifier = keras.layers.Conv2D(
            self.num_classes,
            1,
            kernel_initializer=relu_initializer(),
            dtype=self.dtype_policy,
            name="classifier",
        )
        self.upsample.build((None, None, None, channels))
        self.classifier.build((None, None, None, self.filters))

    def call(self, inputs, classes=None):
        x = inputs
        for conv in self.convs:
            x = conv(x)
        x = self.upsample(x)  # (rois, 28, 28, filters)
        if classes is None:
            return ops.cast(self.classifier(x), "float32")
        # One map per row, not one per class and row: each row's own kernel.
        choice = ops.one_hot(classes, self.num_classes, dtype=x.dtype)
        kernel = ops.cast(self.classifier.kernel[0, 0], x.dtype)
        bias = ops.cast(self.classifier.bias, x.dtype)
        kernels = ops.matmul(choice, ops.transpose(kernel))
        logits = ops.einsum("nhwc,nc->nhw", x, kernels)
        logits = logits + ops.matmul(choice, bias[:, None])[:, :, None]
        return ops.cast(logits, "float32")

    def compute_output_shape(self, inputs_shape, classes_shape=None):
        rows, height, width, _ = inputs_shape
        shape = (rows, 2 * height, 2 * width)
        return shape if classes_shape else (*shape, self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "filters": self.filters,
        }
