"""What a segmenter is to Keras: sizes, `fit`, saving, parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from segmenters import small

from gcvit_keras.segmentation import (
    Fusion,
    PixelCrossentropy,
    PyramidPooling,
)


@pytest.fixture(scope="module")
def model():
    """A segmenter that is not to be changed."""
    return small()


def pixels(*shape, seed=0):
    random = np.random.default_rng(seed)
    return 255 * random.random((*shape, 3), "float32")


@pytest.mark.parametrize("size", [(64, 96), (75, 33), (32, 32), (1, 1)])
def test_logits_are_a_quarter_of_any_size(model, size):
    logits = model(pixels(2, *size))
    assert logits.shape == (2, -(-size[0] // 4), -(-size[1] // 4), 3)
    assert np.isfinite(logits).all()


def test_sizes_need_not_be_known_when_a_graph_is_made():
    model = small()

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    def compute(images):
        return model(images), model(images, training=True)["auxiliary"]

    images = pixels(1, 40, 72)
    expected = model(images)  # before statistics follow
    logits, auxiliary = compute(images)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert auxiliary.shape == (1, 3, 5, 3)


def test_logits_of_the_image_s_size_are_those_of_a_quarter_resized(model):
    large = small(output_stride=1)
    large.set_weights(model.get_weights())
    images = pixels(1, 50, 70)
    expected = keras.ops.image.resize(model(images), (50, 70))
    np.testing.assert_allclose(large(images), expected, atol=1e-6)


def test_an_image_s_logits_do_not_depend_on_its_batch(model):
    images = pixels(3, 40, 56)
    together = model.predict(images, batch_size=3, verbose=0)
    np.testing.assert_allclose(together[1:2], model(images[1:2]), atol=1e-5)


@pytest.mark.slow
def test_fit_learns_masks_and_leaves_out_what_is_ignored():
    keras.utils.set_random_seed(0)
    model = small(2, auxiliary=False)
    images = np.zeros((8, 32, 32, 3), "float32")
    labels = np.full((8, 32, 32), 255, "uint8")
    for i in range(8):
        side = 8 * (i % 3)
        images[i, :, side:] = 255
        labels[i, :, :side], labels[i, :, side:] = 0, 1
        labels[i, :4] = 255
    model.compile(
        keras.optimizers.AdamW(1e-2),
        metrics=[
            keras.metrics.MeanIoU(2, ignore_class=255, sparse_y_pred=False)
        ],
        run_eagerly=True,
    )
    first = model.evaluate(images, labels, verbose=0)[0]
    model.fit(images, labels, batch_size=8, epochs=20, verbose=0)
    logits = model.predict(images, verbose=0)
    logits = np.asarray(keras.ops.image.resize(logits, (32, 32)))
    right = (logits.argmax(-1) == labels)[labels != 255].mean()
    assert right > 0.9
    assert model.evaluate(images, labels, verbose=0)[0] < 0.6 * first


def test_a_frozen_backbone_stays_as_it_is():
    model = small()
    model.backbone.trainable = False
    before = model.backbone.get_weights()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    model.fit(pixels(2, 32, 32), np.zeros((2, 32, 32)), verbose=0)
    for a, b in zip(before, model.backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_auxiliary_head_is_a_layer_that_learns():
    model = small()
    head = model.get_layer("auxiliary_head")
    before = head.get_weights()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    model.fit(pixels(2, 32, 32), np.zeros((2, 32, 32)), verbose=0)
    assert not np.array_equal(before[0], head.get_weights()[0])


@pytest.mark.parametrize("loss", [None, PixelCrossentropy()])
@pytest.mark.parametrize("training", [True, False])
def test_losses_of_layers_count_once(loss, training):
    """Regularisers, for instance, which the segmenter itself has none of."""
    model = small()
    model.compile("sgd", loss)
    images, labels = pixels(1, 32, 32), np.ones((1, 32, 32))
    outputs = model(images, training=training)
    without = float(model.compute_loss(images, labels, outputs))
    kernel = model.classifier.kernel
    kernel.regularizer = keras.regularizers.L2(1000.0)
    own = 1000 * float(np.sum(np.square(kernel)))
    loss = float(model.compute_loss(images, labels, outputs))
    assert loss == pytest.approx(without + own, rel=1e-4)


@pytest.mark.parametrize("auxiliary, output_stride", [(True, 4), (False, 1)])
def test_a_saved_model_is_the_same(tmp_path, auxiliary, output_stride):
    model = small(auxiliary=auxiliary, output_stride=output_stride)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(variable + 0.01)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    images = pixels(1, 40, 56)
    np.testing.assert_array_equal(loaded(images), model(images))
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b, a.path)


def test_a_compiled_model_goes_on_learning_when_it_is_loaded(tmp_path):
    model = small()
    model.compile(keras.optimizers.AdamW(1e-3), run_eagerly=True)
    images, labels = pixels(2, 32, 32), np.ones((2, 32, 32))
    model.fit(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.iterations == 1
    loaded.fit(images, labels, verbose=0)
    assert loaded.optimizer.iterations == 2


def test_a_model_without_auxiliary_head_gives_logits_in_training():
    model = small(auxiliary=False)
    assert model(pixels(1, 32, 32), training=True).shape == (1, 8, 8, 3)


def test_a_variant_has_windows_that_divide_a_crop_of_512():
    from gcvit_keras.segmentation import UPerNet

    model = UPerNet("xxtiny", 5, backbone_weights=None, channels=8)
    config = model.backbone.get_config()
    windows = [side for side, _ in config["window_size"]]
    assert all(
        512 // stride % side == 0
        for stride, side in zip((4, 8, 16, 32), windows, strict=True)
    )
    assert config["level_norms"] and model.input_shape == (None, None, None, 3)


@pytest.mark.parametrize("sizes", [(8, 4, 2, 1), (17, 9, 5, 3), (7, 3, 3, 2)])
def test_fusion_is_a_convolution_of_the_resized_maps(sizes):
    random = np.random.default_rng(0)
    maps = [
        random.normal(size=(2, s, s + 2, 5)).astype("float32") for s in sizes
    ]
    layer = Fusion(6)
    found = layer(maps)
    finest = sizes[0], sizes[0] + 2
    joined = np.concatenate(
        [keras.ops.image.resize(m, finest) for m in maps], axis=-1
    )
    expected = keras.ops.relu(
        keras.ops.conv(joined, layer.kernel, padding="same") / np.sqrt(1 + 1e-5)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pooled_grids_are_pytorch_s_where_cells_share_pixels():
    layer = PyramidPooling(4, scales=(3,))
    image = np.random.default_rng(0).normal(size=(1, 5, 7, 2)).astype("float32")
    layer(image)
    seen = []
    layer.branches[0].call = lambda x, training: seen.append(x) or x[..., :1]
    layer.bottleneck.call = lambda x, training: x
    layer(image)
    rows, columns = [(0, 2), (1, 4), (3, 5)], [(0, 3), (2, 5), (4, 7)]
    expected = [
        [image[:, a:b, c:d].mean((1, 2)) for c, d in columns] for a, b in rows
    ]
    expected = np.moveaxis(np.array(expected), 2, 0)
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"output_stride": 2}, r"`output_stride` must be one of \[1, 4\]"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
        ({"channels": 0}, "`channels` must be a positive integer"),
        ({"classes": 0}, "`num_classes` must be a positive integer"),
        ({"classes": 256}, "`num_classes` must be at most 255"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        small(**arguments)
