"""ImageNet's mean and deviation, and what `keras.applications` modules have."""

import keras

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalization(name):
    """Layer that takes RGB pixels in [0, 255] to the models' input range."""
    return keras.layers.Normalization(
        mean=[255 * m for m in IMAGENET_MEAN],
        variance=[(255 * s) ** 2 for s in IMAGENET_STD],
        name=name,
    )


def preprocess_input(x, data_format=None):
    """Returns `x`: the models normalise inside, as ConvNeXt does in Keras.

    Args:
        x: Images with pixels in [0, 255], array or tensor.
        data_format: Accepted for symmetry with `keras.applications`; unused.

    Returns:
        `x`.
    """
    return x


def decode_predictions(preds, top=5):
    """Names the most probable ImageNet classes of each image.

    Args:
        preds: Array `(images, 1000)` of scores.
        top: How many classes an image.

    Returns:
        A list an image of `(WordNet id, name, score)`, best first.

    Raises:
        ValueError: If `preds` is not of shape `(images, 1000)`.
    """
    return keras.applications.imagenet_utils.decode_predictions(preds, top)
