"""The loss of segmentation: cross-entropy of the pixels that have a class."""

import keras
from keras import ops

from gcvit_keras import checks
from gcvit_keras.segmentation.resize import resized

IGNORED = 255
"""Value of pixels in a label map that belong to no class."""


def pixel_crossentropy(labels, logits, ignore_index=IGNORED):
    """Computes the cross-entropy of each image's pixels.

    Logits of another size are resized to the labels', as mmsegmentation does.

    Args:
        labels: Integer tensor `(batch, height, width)` or `(batch, height,
            width, 1)`.
        logits: Tensor `(batch, any, any, classes)`.
        ignore_index: Label of pixels without a loss, an integer.

    Returns:
        Float32 tensor `(batch,)`: the sum over the pixels that count, divided
        by the number of all pixels.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import pixel_crossentropy
    >>> labels = np.array([[[0, 1], [255, 255]]])
    >>> loss = pixel_crossentropy(labels, np.zeros((1, 2, 2, 2), "float32"))
    >>> round(float(loss[0]), 4)  # log(2) / 2
    0.3466
    """
    labels = ops.cast(labels, "int32")
    if len(labels.shape) == 4:
        labels = ops.squeeze(labels, -1)
    logits = ops.cast(
        logits, keras.backend.result_type(logits.dtype, "float32")
    )
    logits = resized(logits, ops.shape(labels)[1:3])
    counts = labels != ignore_index
    losses = ops.sparse_categorical_crossentropy(
        ops.where(counts, labels, 0), logits, from_logits=True
    )
    return ops.mean(ops.where(counts, losses, 0.0), axis=(1, 2))


@keras.saving.register_keras_serializable("gcvit_keras")
class PixelCrossentropy(keras.losses.Loss):
    """Cross-entropy of the pixels that have a class, for `compile`.

    Args:
        ignore_index: Label of pixels without a loss, an integer.
        name: Name of the loss.
        **kwargs: Of `keras.losses.Loss`.

    Examples:
    >>> import numpy as np
    >>> from gcvit_keras.segmentation import PixelCrossentropy
    >>> labels, logits = np.zeros((1, 8, 8)), np.zeros((1, 2, 2, 10))
    >>> round(float(PixelCrossentropy()(labels, logits)), 4)
    2.3026
    """

    def __init__(
        self, ignore_index=IGNORED, name="pixel_crossentropy", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.ignore_index = checks.integer("ignore_index", ignore_index, 0)

    def call(self, y_true, y_pred):
        return pixel_crossentropy(y_true, y_pred, self.ignore_index)

    def get_config(self):
        return {**super().get_config(), "ignore_index": self.ignore_index}
