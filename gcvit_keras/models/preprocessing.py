"""ImageNet's normalisation, and the functions of `keras.applications`."""

import functools
from pathlib import Path

import keras
import numpy as np

from gcvit_keras.weights.presets import PIXEL_MEAN, PIXEL_STD


def normalization(name, channels, dtype=None):
    """Makes the layer that takes pixels in [0, 255] to the models' input range.

    It is for 3 channels, or for grey, of which mean and deviation are the
    averages of the three, as in timm.
    """
    mean, std = np.array(PIXEL_MEAN), np.array(PIXEL_STD)
    if channels == 1:
        mean, std = (x.mean(keepdims=True) for x in (mean, std))
    return keras.layers.Normalization(
        mean=mean.tolist(),
        variance=(std**2).tolist(),
        dtype=dtype,
        name=name,
    )


def preprocess_input(x, data_format=None):
    """Returns `x`: the models normalise inside, as ConvNeXt does in Keras.

    Args:
        x: Images with pixels in [0, 255], array or tensor.
        data_format: Accepted for symmetry with `keras.applications`; unused.

    Returns:
        `x`.

    Examples:
    >>> import gcvit_keras
    >>> gcvit_keras.preprocess_input([[0.0, 255.0]])
    [[0.0, 255.0]]
    """
    return x


def decode_predictions(preds, top=5):
    """Names the most probable ImageNet classes of each image, offline.

    Args:
        preds: Array `(images, 1000)` of scores.
        top: Number of classes per image.

    Returns:
        A list per image of `(WordNet id, name, score)`, best first, as
        `keras.applications` returns. The names are WordNet's, made unique:
        classes 134 and 639 are `crane_bird` and `tank_suit`.

    Raises:
        ValueError: If `preds` is not of shape `(images, 1000)`.

    Examples:
    >>> import gcvit_keras, numpy as np
    >>> ((best,),) = gcvit_keras.decode_predictions(np.eye(1000)[[281]], top=1)
    >>> best[:2], float(best[2])
    (('n02123045', 'tabby'), 1.0)
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError(
            "`preds` must be scores of the 1000 ImageNet classes, of shape "
            f"(images, 1000). Received: preds of shape {preds.shape}"
        )
    classes = imagenet_classes()
    return [
        [
            (*classes[k], scores[k])
            # As floats: unsigned integers have no negatives.
            for k in np.argsort(-scores.astype("float64"), kind="stable")[:top]
        ]
        for scores in preds
    ]


@functools.cache
def imagenet_classes():
    """Reads WordNet id and name of each class, as timm 1.0.31 lists them."""
    text = (Path(__file__).parent / "imagenet_classes.txt").read_text()
    return [tuple(line.split()) for line in text.splitlines()]
