"""Operations equal torchvision's, where some Python has it.

GCVIT_TORCH_PYTHON names that Python; without it, it is the one that runs the
tests. Pasting is left out: torchvision rounds boxes to whole pixels, mmdet
does not.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcvit_keras.detection.assign import assign
from gcvit_keras.detection.boxes import box_iou, decode_boxes, encode_boxes
from gcvit_keras.detection.losses import giou_loss
from gcvit_keras.detection.masks import mask_targets
from gcvit_keras.detection.nms import non_max_suppression
from gcvit_keras.detection.roi_align import pyramid_roi_align
from gcvit_keras.detection.sample import random_choice, sample_mask

pytestmark = pytest.mark.torch
STDS = (0.1, 0.1, 0.2, 0.2)
SIZE = 7
SHARES = [(0.2, 0.4, 0.4), (0.5, 0.48, 0.02), (0.1, 0.9, 0.0)]
"""Of boxes left out, background and objects: many of these, few, none."""


def random_boxes(rng, shape, side):
    corners = rng.uniform(0, 0.7 * side, (*shape, 2))
    sizes = rng.uniform(4, 0.3 * side, (*shape, 2))
    return np.concatenate([corners, corners + sizes], -1).astype("float32")


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(7)
    targets = random_boxes(rng, (40,), 100)
    y, x = np.mgrid[:100, :100]
    centres = rng.uniform(20, 80, (40, 2, 1, 1))
    masks = np.hypot(y - centres[:, 0], x - centres[:, 1]) < 25
    return {
        "boxes": random_boxes(rng, (300,), 100),
        "scores": rng.random(300, "float32"),
        "groups": rng.integers(0, 4, 300),
        "objects": random_boxes(rng, (9,), 100),
        "targets": targets,
        "found": targets + rng.uniform(-2, 2, (40, 4)).astype("float32"),
        "codes": np.stack([rng.choice([-1, 0, 1], 200, p=p) for p in SHARES]),
        "masks": masks[:, None].astype("float32"),
        "stds": np.array(STDS),
        "size": np.array(SIZE),
        "features": rng.normal(size=(2, 4, 20, 25)).astype("float32"),
        "rois": random_boxes(rng, (2, 30), 180),
        "weights": rng.normal(size=(60, 4, SIZE, SIZE)).astype("float32"),
    }


@pytest.fixture(scope="module")
def theirs(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchvision")
    np.savez(folder / "given.npz", **given)
    ended = subprocess.run(
        [
            os.environ.get("GCVIT_TORCH_PYTHON", sys.executable),
            Path(__file__).with_name("torchvision_operations.py"),
            *(folder / "given.npz", folder / "theirs.npz"),
        ],
        capture_output=True,
        text=True,
    )
    if ended.returncode == 3:
        pytest.skip("no torchvision")
    assert ended.returncode == 0, ended.stderr
    return dict(np.load(folder / "theirs.npz"))


def test_suppression(given, theirs):
    kept, count = non_max_suppression(
        given["boxes"][None],
        given["scores"][None],
        given["groups"][None],
        iou_threshold=0.3,
        max_count=300,
    )
    np.testing.assert_array_equal(kept[0, : int(count[0])], theirs["kept"])


def test_overlap_and_assignment(given, theirs):
    boxes, objects = given["boxes"], given["objects"][None]
    iou = box_iou(boxes[None], objects)[0]
    np.testing.assert_allclose(np.transpose(iou), theirs["iou"], atol=1e-6)
    codes, _ = assign(
        boxes,
        objects,
        np.ones((1, 9), bool),
        positive_iou=0.6,
        negative_iou=0.3,
    )
    # -1 is theirs for background, -2 for neither.
    expected = np.where(theirs["matched"] == -2, -1, theirs["matched"] + 1)
    assert set(np.sign(expected)) == {-1, 0, 1}
    np.testing.assert_array_equal(codes[0], expected)


def test_box_coder(given, theirs):
    deltas = encode_boxes(given["targets"], given["found"], STDS)
    np.testing.assert_allclose(deltas, theirs["deltas"], rtol=1e-4, atol=1e-5)
    boxes = decode_boxes(theirs["deltas"], given["found"], STDS)
    np.testing.assert_allclose(boxes, theirs["decoded"], rtol=0, atol=1e-4)


def test_numbers_of_samples(given, theirs):
    chosen = sample_mask(
        given["codes"], 64, 16, random_choice(keras.random.SeedGenerator(1))
    )
    for ours, name in zip(chosen, ("positive", "negative"), strict=True):
        np.testing.assert_array_equal(np.sum(ours, 1), theirs[name])


def test_giou(given, theirs):
    loss = giou_loss(given["found"], given["targets"])
    np.testing.assert_allclose(loss, theirs["giou"], rtol=0, atol=1e-5)


def test_roi_align_with_its_gradient(given, theirs):
    features = tf.constant(given["features"].transpose(0, 2, 3, 1))
    weights = given["weights"].transpose(0, 2, 3, 1)
    with tf.GradientTape() as tape:
        tape.watch(features)
        bins = pyramid_roi_align([features], given["rois"], SIZE, [8])
        total = tf.reduce_sum(bins * weights.reshape(bins.shape))
    expected = theirs["bins"].transpose(0, 2, 3, 1).reshape(bins.shape)
    np.testing.assert_allclose(bins, expected, rtol=0, atol=1e-5)
    expected = theirs["gradient"].transpose(0, 2, 3, 1)
    gradient = tape.gradient(total, features)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-4)


def test_mask_targets(given, theirs):
    targets = mask_targets(
        given["masks"][:, 0].astype("uint8")[:, None],
        given["targets"][:, None],
        np.zeros((40, 1), int),
    )
    # Half-covered cells may fall to either side in the last bit.
    sure = np.abs(theirs["masks"] - 0.5) > 1e-6
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(
        np.asarray(targets)[:, 0][sure], (theirs["masks"] >= 0.5)[sure]
    )
