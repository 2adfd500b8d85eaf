"""`GCViTBackbone` within the models of keras-cv and KerasHub."""

import keras
import numpy as np
import pytest

import gcvit_keras

BOXES = np.float32([[[10, 10, 60, 60]], [[30, 40, 50, 63]]])
CLASSES = np.array([[1], [2]])


@pytest.fixture
def backbone():
    return gcvit_keras.GCViTBackbone(
        embed_dim=16,
        depths=(1, 2, 1, 1),
        num_heads=(1, 2, 4, 8),
        mlp_ratio=2,
        input_shape=(64, 64, 3),
    )


def goes_through(model, images, labels, tmp_path):
    """A step of `fit`, `predict`, and the same from a file."""
    before = [np.array(v) for v in model.trainable_variables]
    history = model.fit(images, labels, verbose=0).history
    assert np.isfinite(history["loss"][0])
    of_backbone = [
        not np.array_equal(a, b)
        for a, b in zip(before, model.trainable_variables, strict=True)
        if "level_0_block_0" in b.path
    ]
    assert of_backbone and np.mean(of_backbone) > 0.9
    found = model.predict(images, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = loaded.predict(images, verbose=0)
    keras.tree.map_structure(np.testing.assert_array_equal, again, found)
    return found


@pytest.mark.slow
def test_a_retinanet_of_keras_cv(backbone, images, tmp_path):
    models = pytest.importorskip("keras_cv").models
    model = models.RetinaNet(backbone, 3, "xyxy")
    losses = {"box_loss": "smoothl1", "classification_loss": "focal"}
    model.compile(optimizer="adam", **losses)
    labels = {"boxes": BOXES, "classes": CLASSES}
    found = goes_through(model, images(2, 64, 64, 3), labels, tmp_path)
    assert found["boxes"].shape == (2, 100, 4)


@pytest.mark.slow
def test_a_deeplab_of_keras_cv(backbone, images, tmp_path):
    models = pytest.importorskip("keras_cv").models
    model = models.DeepLabV3Plus(backbone, 4)
    model.compile("adam", "sparse_categorical_crossentropy")
    labels = np.random.default_rng(0).integers(0, 4, (2, 64, 64, 1))
    found = goes_through(model, images(2, 64, 64, 3), labels, tmp_path)
    assert found.shape == (2, 64, 64, 4)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_a_retinanet_of_keras_hub(backbone, images, tmp_path):
    hub = pytest.importorskip("keras_hub")
    pyramid = hub.models.RetinaNetBackbone(
        image_encoder=backbone, min_level=3, max_level=5, use_p5=True
    )
    model = hub.models.RetinaNetObjectDetector(
        pyramid,
        3,
        bounding_box_format="xyxy",
    )
    model.compile("adam")
    labels = {"boxes": BOXES, "labels": CLASSES}
    found = goes_through(model, images(2, 64, 64, 3), labels, tmp_path)
    assert found["boxes"].shape == (2, 100, 4)


@pytest.mark.slow
def test_a_deeplab_of_keras_hub(backbone, images, tmp_path):
    hub = pytest.importorskip("keras_hub")
    encoder = hub.models.DeepLabV3Backbone(
        image_encoder=backbone,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        upsampling_size=4,
        dilation_rates=[6, 12, 18],
    )
    model = hub.models.DeepLabV3ImageSegmenter(encoder, 4, preprocessor=None)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[])
    labels = np.random.default_rng(0).integers(0, 4, (2, 64, 64))
    found = goes_through(model, images(2, 64, 64, 3), labels, tmp_path)
    assert found.shape == (2, 64, 64, 4)
