"""Files of weights that Keras wrote, loaded strictly."""

import os
import tempfile

import h5py
import ml_dtypes
import numpy as np

from gcvit_keras.weights.porting import refuse_differences


def load_keras_file(model, path):
    """Loads a `.weights.h5` that fits as it is, all of it or nothing.

    Keras loads what fits, says nothing of what is too many, and raises after
    the fact. So a file has to hold what Keras would write of the model itself,
    or a `ValueError` lists what it has not, or has of another shape or not
    finite.
    """
    source = f"{path} does not fit model {model.name!r}"
    try:
        stored = _h5_shapes(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "own.weights.h5")
        model.save_weights(own)
        expected = _h5_shapes(own)
    refuse_differences(
        source,
        {
            "missing": [k for k in expected if k not in stored],
            "unexpected": [k for k in stored if k not in expected],
            "of another shape": [
                f"{k}: {stored[k]} in the file, {shape} in the model"
                for k, shape in expected.items()
                if k in stored and stored[k] != shape
            ],
        },
    )
    refuse_differences(source, {"with NaN or infinity": _h5_broken(path)})
    with tempfile.TemporaryDirectory() as folder:
        # Keras goes by the name.
        link = os.path.join(folder, "link.weights.h5")
        os.symlink(os.path.abspath(path), link)
        model.load_weights(link)


def _h5_shapes(path):
    """Lists the arrays in a file: a dict of name to shape."""
    return dict(_h5_arrays(path, lambda item: item.shape))


def _h5_broken(path):
    """Lists the names of the arrays in a file that are not finite."""

    def is_finite(item):
        # Keras tells by an attribute what HDF5 has no type for.
        is_bfloat16 = item.attrs.get("dtype") == "bfloat16"
        array = np.array(item, ml_dtypes.bfloat16 if is_bfloat16 else None)
        return np.isfinite(array).all()

    return [key for key, finite in _h5_arrays(path, is_finite) if not finite]


def _h5_arrays(path, compute):
    """Lists pairs of the name of an array in a file, and what is computed."""
    pairs = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            pairs.append((name, compute(item)))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return pairs
