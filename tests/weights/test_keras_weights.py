"""Weights that Keras saved."""

import keras
import numpy as np
import pytest

import gcvit_keras


@pytest.mark.parametrize(
    "saved, words",
    [
        ({"depths": (2, 2, 3, 2)}, "0 missing, "),
        ({"depths": (2, 2, 1, 2)}, "0 unexpected, "),
        # Keras itself would load this and leave the scales out.
        ({"layer_scale": 0.1}, "0 missing, "),
        ({"classes": 7}, "0 missing, 0 unexpected, 2 of another shape"),
    ],
)
def test_keras_weights_of_another_model_are_refused_whole(
    nano, tmp_path, saved, words
):
    nano(**saved).save_weights(tmp_path / "x.weights.h5")
    model = nano()
    before = model.get_weights()
    with pytest.raises(ValueError, match=words):
        gcvit_keras.load_weights(model, tmp_path / "x.weights.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
def test_keras_weights_that_are_not_finite_are_refused_whole(
    nano, tmp_path, policy
):
    keras.config.set_dtype_policy(policy)
    model = nano()
    before = model.get_weights()
    beta = model.get_layer("norm").beta
    beta.assign(beta + np.nan)
    model.save_weights(tmp_path / "x.weights.h5")
    model.set_weights(before)
    with pytest.raises(ValueError, match="1 with NaN or infinity .*norm/vars"):
        gcvit_keras.load_weights(model, tmp_path / "x.weights.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_keras_weights_trained_with_drop_path_load_without(nano, tmp_path):
    trained = nano(drop_path_rate=0.2)
    trained.save_weights(tmp_path / "x.weights.h5")
    model = nano(weights=tmp_path / "x.weights.h5")
    kernel = trained.get_layer("predictions").kernel
    np.testing.assert_array_equal(model.get_layer("predictions").kernel, kernel)


def test_a_damaged_keras_file_is_refused(nano, tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_text("broken")
    with pytest.raises(ValueError, match="x.weights.h5 cannot be read"):
        nano(weights=path)
