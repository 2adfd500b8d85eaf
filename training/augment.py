"""Augmentation of training images."""

import keras


def augmentation(config):
    """Random rotation, shift and zoom of a batch of images.

    Keras's own layers: keras-cv 0.9's do not repeat with their seed on
    Keras 3.15.

    Args:
        config: A `RunConfig`.

    Returns:
        A `keras.Sequential` on float32 images `(batch, size, size, 3)`; call
        it with `training=True`.
    """
    options = {
        "fill_mode": "constant",
        "interpolation": "bilinear",
        "dtype": "float32",  # pixels, whatever the model computes in
    }
    return keras.Sequential(
        [
            keras.layers.RandomRotation(
                config.augment.rotation, seed=config.seed, **options
            ),
            keras.layers.RandomTranslation(
                config.augment.translation,
                config.augment.translation,
                seed=config.seed + 1,
                **options,
            ),
            keras.layers.RandomZoom(
                config.augment.zoom, seed=config.seed + 2, **options
            ),
        ],
        name="augmentation",
    )
