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
