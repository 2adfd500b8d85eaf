"""Awkward input: a clear error, or the right loss, and never NaN."""

import numpy as np
import pytest
import tensorflow as tf
from models import batch, make

from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN
from gcvit_keras.detection.inputs import prepare_targets
from gcvit_keras.detection.sample import choose_first

CASES = [MaskRCNN, CascadeMaskRCNN]


@pytest.fixture(scope="module", params=CASES)
def model(request):
    return make(request.param)


def total(losses):
    assert all(np.isfinite(value).all() for value in losses.values())
    return {name: float(np.mean(value)) for name, value in losses.items()}


@pytest.fixture(scope="module")
def in_a_graph():
    """A model, and its losses where values cannot be looked at beforehand.

    Nor the number of objects, as of batches that `padded_batch` makes. Traced
    once, with classes that might be no whole numbers.
    """
    model = make()
    images, targets = batch()
    signature = [
        tf.TensorSpec(images.shape, tf.float32),
        {
            name: tf.TensorSpec((2, None, *value.shape[2:]), value.dtype)
            for name, value in with_float_classes(targets).items()
        },
    ]

    @tf.function(input_signature=signature)
    def losses(images, targets):
        return model.losses(images, targets, choose=choose_first)

    def call(images, targets):
        return losses(images, with_float_classes(targets))

    return model, call


def with_float_classes(targets):
    return {**targets, "classes": targets["classes"].astype("float32")}


@pytest.mark.parametrize("objects", [0, 2])
def test_images_without_objects_have_only_background(model, objects):
    images, targets = batch(objects=3)
    empty = {k: v[:, :objects] for k, v in targets.items()}
    empty["classes"] = np.full_like(empty["classes"], -1)
    losses = total(model.losses(images, empty))
    for name, value in losses.items():
        if name.endswith("cls"):
            assert value > 0, name
        else:
            assert value == 0, name


def test_the_number_of_objects_may_be_unknown_and_none(in_a_graph):
    model, losses = in_a_graph
    images, targets = batch(objects=3)
    for objects in (3, 1, 0):
        fewer = {k: v[:, :objects] for k, v in targets.items()}
        expected = total(model.losses(images, fewer, choose=choose_first))
        assert total(losses(images, fewer)) == pytest.approx(expected, rel=1e-4)


def test_without_masks_there_is_no_mask_loss(model):
    images, targets = batch()
    del targets["masks"]
    losses = total(model.losses(images, targets))
    assert not [name for name in losses if name.endswith("mask")]


def change(targets, name, index, value):
    targets = {k: v.copy() for k, v in targets.items()}
    if isinstance(value, float):
        targets[name] = targets[name].astype("float32")
    targets[name][index] = value
    return targets


BAD = {
    "no area": ("boxes", (0, 0), [20, 20, 20, 40], "positive area"),
    "corners swapped": ("boxes", (0, 0), [40, 40, 20, 20], "positive area"),
    "NaN": ("boxes", (0, 0), [np.nan, 0, 20, 20], "positive area"),
    "outside": ("boxes", (0, 0), [200, 10, 250, 30], "inside of their image"),
    "class too large": ("classes", (0, 0), 3, "from 0 to 2"),
    "class between": ("classes", (0, 0), 0.5, "from 0 to 2"),
    "class negative": ("classes", (0, 0), -2, "from 0 to 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_ground_truth_that_cannot_be_meant(model, case):
    name, index, value, message = BAD[case]
    images, targets = batch()
    bad = change(targets, name, index, value)
    message = rf"`targets\['{name}'\]` must be .*{message}"
    with pytest.raises(ValueError, match=message):
        model.losses(images, bad)


def test_in_a_graph_such_objects_leave_losses_finite(in_a_graph):
    images, targets = batch()
    for name, index, value, _ in BAD.values():
        total(in_a_graph[1](images, change(targets, name, index, value)))


@pytest.mark.parametrize("case", [k for k in BAD if k != "class between"])
def test_such_objects_become_filling(case):
    name, index, value, _ = BAD[case]
    _, targets = batch()
    sizes = np.int32([[64, 96]] * 2)
    found = prepare_targets(change(targets, name, index, value), sizes, 3)
    filled = change(targets, "classes", (0, 0), -1)
    expected = prepare_targets(change(filled, "boxes", (0, 0), 0), sizes, 3)
    for name in ("boxes", "classes"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("boxes", np.zeros((2, 3, 5), "float32"), "boxes"),
        ("boxes", [[[0, 0, 1, 1]]], "must be an array"),
        ("classes", np.zeros((2, 2), "int32"), "classes"),
        ("masks", np.zeros((2, 3, 64, 90), "uint8"), "masks"),
        ("sizes", np.zeros((3, 2), "int32"), "sizes"),
        ("sizes", np.array([[0, 96], [64, 96]], "int32"), "sizes"),
        ("sizes", np.array([[64, 97], [64, 96]], "int32"), "sizes"),
    ],
)
def test_shapes_that_do_not_fit(name, value, message):
    images, targets = batch()
    with pytest.raises(ValueError, match=message):
        make().losses(images, {**targets, name: value})


@pytest.mark.parametrize(
    "name, value",
    [
        ("masks", np.zeros((2, 3, 32, 48), "uint8")),
        ("masks", np.zeros((2, 2, 64, 96), "uint8")),
        ("classes", np.zeros((2, 2), "int32")),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_fit(name, value):
    images, targets = batch()
    model = make()
    model.compile("sgd")
    with pytest.raises(ValueError, match=f"'{name}'.. must be of shape"):
        model.fit(images, {**targets, name: value}, verbose=0)


def test_masks_of_255_are_those_of_1(model):
    images, targets = batch()
    one, other = (
        total(
            model.losses(
                images,
                {**targets, "masks": factor * targets["masks"]},
                choose=choose_first,
            )
        )
        for factor in (1, 255)
    )
    assert one == other


def test_sizes_beyond_the_image_are_its_own():
    images, _ = batch()
    model = make()
    large = {"images": images, "sizes": np.int32([[640, 960]] * 2)}
    for name, value in model(images).items():
        np.testing.assert_array_equal(model(large)[name], value)
    with pytest.raises(ValueError, match="`sizes` must be of shape"):
        model({"images": images, "sizes": np.int32([64, 96])})


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 0, 64, 3), "float32"),
        np.zeros((1, 64, 64, 1), "float32"),
        np.zeros((64, 64, 3), "float32"),
    ],
)
def test_images_that_are_none(images):
    with pytest.raises(ValueError, match="of shape"):
        make()(images)


def test_pixels_that_are_not_finite(in_a_graph):
    images, targets = batch()
    images[0, 3, 4] = np.nan
    images[1, 5, 6] = np.inf
    model, losses = in_a_graph
    with pytest.raises(ValueError, match="finite"):
        model.losses(images, targets)
    total(losses(images, targets))
    assert all(np.isfinite(value).all() for value in model(images).values())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "num_classes"),
        ({"backbone": "huge"}, "backbone"),
        ({"score_threshold": 1.0}, "score_threshold"),
        ({"iou_threshold": -0.1}, "iou_threshold"),
        ({"max_detections": 0}, "max_detections"),
        ({"fpn_channels": 1.5}, "fpn_channels"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    arguments = {"backbone": "tiny", "num_classes": 3, **arguments}
    with pytest.raises(ValueError, match=f"`{message}` must be"):
        MaskRCNN(**arguments, backbone_weights=None)
