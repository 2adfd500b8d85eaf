"""UPerNet computes, and learns, what mmsegmentation's does."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from segmenters import Reference, close

from gcvit_keras.weights.mmseg import segmenter_variables

# Tiny sums of large terms: mmsegmentation's own float32 and float64 differ.
NOISY = re.compile(r"backbone.*\.fc\.[02]\.weight")


@pytest.fixture(scope="module")
def reference():
    return Reference()


@pytest.fixture(scope="module")
def model(reference):
    """The segmenter with the reference's weights; not to be changed."""
    return reference.model()


@pytest.fixture(scope="module")
def step(reference):
    """A step of training: outputs, loss, gradients, and the model after it."""
    model = reference.model()
    variables = model.trainable_variables
    images, labels = reference.io["input"], reference.io["label"]

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = model.compute_loss(images, labels, outputs)
        return outputs, loss, tape.gradient(loss, variables)

    outputs, loss, gradients = compute()
    by_variable = zip(variables, gradients, strict=True)
    return model, outputs, loss, {id(v): g for v, g in by_variable}


def to_mmseg_layout(array, variable):
    """Lays an array of a variable out as mmsegmentation does."""
    array = np.asarray(array)
    if "relative_position_bias_table" in variable.path or array.ndim < 2:
        return array
    depthwise = "/depthwise/" in variable.path
    order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
    return array.T if array.ndim == 2 else array.transpose(order)


def test_logits_equal_mmsegmentation_s(reference, model):
    close(model(reference.io["input"]), reference.io["decode_logits"])


def test_the_pooled_pyramid_equals_mmsegmentation_s(reference, model):
    deepest = model.backbone(reference.io["input"])["P5"]
    pooling = model.decode_head.pyramid_pooling
    close(pooling(deepest), reference.io["pyramid_pooling"])


def test_auxiliary_logits_equal_mmsegmentation_s(reference, model):
    maps = model.backbone(reference.io["input"])
    close(model.auxiliary_head(maps["P4"]), reference.io["aux_logits"])


def test_classes_of_the_image_s_pixels_equal_mmsegmentation_s(reference):
    logits = reference.model(output_stride=1)(reference.io["input"])
    corner = reference.io["resized_logits_corner"]
    close(logits[:, :32, :32], corner)
    found = np.argmax(logits, axis=-1)
    # Of two logits within float noise either may be the larger.
    assert (found != reference.io["prediction"]).mean() < 1e-4


def test_logits_of_a_step_of_training_equal_mmsegmentation_s(reference, step):
    _, outputs, _, _ = step
    close(outputs["logits"], reference.io["train_decode_logits"])
    close(outputs["auxiliary"], reference.io["train_aux_logits"])


def test_the_loss_equals_mmsegmentation_s(reference, step):
    _, _, loss, _ = step
    assert float(loss) == pytest.approx(reference.facts["total"], rel=1e-5)


def test_gradient_norms_of_all_parameters_equal_mmsegmentation_s(
    reference, step
):
    model, _, _, gradients = step
    norms = dict(reference.facts["grad_norms"])
    for key, variable in segmenter_variables(model).items():
        if not variable.trainable:
            continue
        gradient = tf.convert_to_tensor(gradients[id(variable)])
        norm = float(np.linalg.norm(gradient))
        # The smallest are noise: of terms that all but cancel.
        expected = pytest.approx(
            norms.pop(key), rel=1e-2 if NOISY.fullmatch(key) else 1e-3, abs=1e-6
        )
        assert norm == expected, key
    assert not norms


def test_whole_gradients_equal_mmsegmentation_s(reference, step):
    model, _, _, gradients = step
    variables = segmenter_variables(model)
    names = [k for k in reference.io.files if k.startswith("grad/")]
    assert len(names) == 5
    for name in names:
        variable = variables[name.removeprefix("grad/")]
        gradient = to_mmseg_layout(gradients[id(variable)], variable)
        close(gradient, reference.io[name])


def test_batch_norm_follows_as_mmsegmentation_s(reference, step):
    model, *_ = step
    variables = segmenter_variables(model)
    names = [k for k in reference.io.files if k.startswith("bn/")]
    assert len(names) == 26
    for name in names:
        close(variables[name.removeprefix("bn/")], reference.io[name])


def test_mixed_precision_stays_near(reference, model):
    images = reference.io["input"]
    half = reference.model(dtype="mixed_bfloat16")(images)
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    expected = np.asarray(model(images))
    error = np.abs(half - expected).mean() / np.abs(expected).mean()
    assert error < 0.05
