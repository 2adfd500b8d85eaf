"""Names of ImageNet's classes."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gcvit_keras import decode_predictions
from gcvit_keras.models.preprocessing import imagenet_classes


def test_the_classes_are_in_the_order_of_the_dataset(tmp_path):
    """TFDS names the classes by WordNet id, in the order of the labels."""
    info = tfds.builder("imagenet2012", data_dir=tmp_path).info
    ids, names = zip(*imagenet_classes(), strict=True)
    assert list(ids) == info.features["label"].names
    assert len(set(names)) == 1000
    assert names[285] == "Egyptian_cat" and names[207] == "golden_retriever"


def test_grey_is_normalised_by_the_means_over_rgb(nano):
    """As timm adapts mean and deviation to one channel."""
    model = nano(input_shape=(32, 32, 1), include_top=False)
    colour = nano(input_shape=(32, 32, 3), include_top=False)
    grey = np.linspace(0, 255, 1024, dtype="float32").reshape((1, 32, 32, 1))
    found = model.get_layer("preprocessing")(grey)
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    expected = (grey / 255 - mean) / std
    np.testing.assert_allclose(found, expected, atol=1e-5)
    of_rgb = colour.get_layer("preprocessing")(np.repeat(grey, 3, -1))
    np.testing.assert_allclose(found[..., 0], np.mean(of_rgb, -1), atol=5e-2)
    four = nano(input_shape=(32, 32, 4), include_top=False)
    assert all(layer.name != "preprocessing" for layer in four.layers)


def test_predictions_are_named_without_the_network():
    scores = np.zeros((2, 1000), "float32")
    scores[0, 285], scores[0, 1], scores[1, 999] = 0.7, 0.2, 0.9
    (first, second), (best, _) = decode_predictions(
        keras.ops.convert_to_tensor(scores), top=2
    )
    assert first == ("n02124075", "Egyptian_cat", np.float32(0.7))
    assert second[:2] == ("n01443537", "goldfish")
    assert best[:2] == ("n15075141", "toilet_tissue")
    quantized = (scores * 255).astype("uint8")
    assert decode_predictions(quantized)[0][0][1] == "Egyptian_cat"
    with pytest.raises(ValueError, match=r"Received: preds of shape \(2, 10\)"):
        decode_predictions(scores[:, :10])
