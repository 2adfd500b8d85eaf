"""Augmentation, against Pillow and numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

from gcvit_training.tasks.classification.augment import (
    augment,
    mix,
    random_crop,
)
from gcvit_training.tasks.classification.config import AugmentConfig
from gcvit_training.tasks.classification.rand_augment import (
    OPERATIONS,
    rand_augment,
)


def photograph():
    image = Image.fromarray(load_sample_image("flower.jpg"))
    # Not square, and not of the full range, so that contrast has work.
    image = image.resize((72, 60))
    return image.point(lambda v: 20 + v * 3 // 4)


def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 72, 3), "uint8")
    return Image.fromarray(pixels)


PLAIN = Image.new("RGB", (72, 60), (10, 200, 90))
IMAGES = {"photograph": photograph(), "noise": noise(), "plain": PLAIN}
FILL = (124, 116, 104)


def affine(image, *matrix):
    return image.transform(
        image.size, Image.AFFINE, matrix, Image.BILINEAR, fillcolor=FILL
    )


def solarize_add(image, add):
    return image.point(lambda v: min(255, v + add) if v < 128 else v)


# At strength 6, as timm's functions call Pillow; sign is + or -.
EXPECTED = {
    "AutoContrast": lambda im, s: ImageOps.autocontrast(im),
    "Equalize": lambda im, s: ImageOps.equalize(im),
    "Invert": lambda im, s: ImageOps.invert(im),
    "Rotate": lambda im, s: im.rotate(
        s * 18, resample=Image.BILINEAR, fillcolor=FILL
    ),
    "Posterize": lambda im, s: ImageOps.posterize(im, 4 - 2),
    "Solarize": lambda im, s: ImageOps.solarize(im, 256 - 153),
    "SolarizeAdd": lambda im, s: solarize_add(im, 66),
    "Color": lambda im, s: ImageEnhance.Color(im).enhance(1 + s * 0.54),
    "Contrast": lambda im, s: ImageEnhance.Contrast(im).enhance(1 + s * 0.54),
    "Brightness": lambda im, s: ImageEnhance.Brightness(im).enhance(
        1 + s * 0.54
    ),
    "Sharpness": lambda im, s: ImageEnhance.Sharpness(im).enhance(1 + s * 0.54),
    "ShearX": lambda im, s: affine(im, 1, s * 0.18, 0, 0, 1, 0),
    "ShearY": lambda im, s: affine(im, 1, 0, 0, s * 0.18, 1, 0),
    "TranslateX": lambda im, s: affine(im, 1, 0, s * 0.27 * 72, 0, 1, 0),
    "TranslateY": lambda im, s: affine(im, 1, 0, 0, 0, 1, s * 0.27 * 60),
}
GEOMETRIC = {n for n in EXPECTED if n.startswith(("Rot", "Shear", "Trans"))}


def test_there_are_timms_fifteen_operations():
    assert list(OPERATIONS) == list(EXPECTED)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", EXPECTED)
def test_an_operation_is_pillows(name, kind, sign):
    image = IMAGES[kind]
    pixels = tf.constant(np.asarray(image), tf.float32)
    found = OPERATIONS[name](pixels, tf.constant(6.0), tf.constant(float(sign)))
    found = np.asarray(tf.round(found))
    expected = np.asarray(EXPECTED[name](image, sign)).astype("float32")
    difference = np.abs(found - expected)
    if name in GEOMETRIC:
        # Pillow takes the colour outside or the image's, TensorFlow blends
        # the two over a pixel.
        outside = (expected == FILL).all(-1)
        for _ in range(2):
            for axis in (0, 1):
                near = [np.roll(outside, shift, axis) for shift in (-1, 1)]
                outside = outside | near[0] | near[1]
        inner = difference[3:-3, 3:-3][~outside[3:-3, 3:-3]]
        assert len(inner) > 1000 and inner.max() <= 2
    else:
        assert difference.max() <= 1


def test_strength_is_timms():
    # timm's tables at magnitudes 0 and 10: posterize 4 and 0 bits kept,
    # solarize from 256 and from 0, SolarizeAdd 0 and 110, enhancing by
    # 1 -/+ 0.9 with at least 0.1.
    ramp = tf.reshape(tf.range(256.0), (16, 16, 1)) * tf.ones(3)

    def at(name, strength, sign=1.0):
        found = OPERATIONS[name](ramp, tf.constant(strength), tf.constant(sign))
        return np.asarray(found)[..., 0].ravel()

    v = np.arange(256)
    np.testing.assert_array_equal(at("Posterize", 0.0), v // 16 * 16)
    np.testing.assert_array_equal(at("Posterize", 10.0), 0 * v)
    np.testing.assert_array_equal(at("Solarize", 0.0), v)
    np.testing.assert_array_equal(at("Solarize", 10.0), 255 - v)
    added = np.where(v < 128, np.minimum(v + 110, 255), v)
    np.testing.assert_array_equal(at("SolarizeAdd", 10.0), added)
    np.testing.assert_allclose(at("Brightness", 10.0, -1.0), v // 10, atol=1)
    bright = np.minimum(v * 1.9, 255)
    np.testing.assert_allclose(at("Brightness", 10.0), bright, atol=1)


def settings(**fields):
    return AugmentConfig(**fields)


def square():
    return tf.constant(
        np.asarray(photograph().resize((48, 48))).astype("float32")
    )


EVERYTHING = {
    "flip": 0.5,
    "rotation": 0.1,
    "translation": 0.1,
    "zoom": 0.1,
    "rand_augment_layers": 2,
    "erasing": 0.5,
}


def test_what_is_off_leaves_the_image():
    image = square()
    found = augment(image, tf.constant([1, 2]), settings())
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("what", EVERYTHING)
def test_a_seed_gives_an_image_and_another_seed_another(what):
    fields = {what: 1 if what in ("flip", "erasing") else EVERYTHING[what]}
    if what == "flip":
        fields = {"flip": 0.5}
    do = tf.function(lambda seed: augment(square(), seed, settings(**fields)))
    images = [np.asarray(do(tf.constant([s, 7]))) for s in (*range(8), 0)]
    np.testing.assert_array_equal(images[0], images[-1])
    assert len({i.tobytes() for i in images}) >= (2 if what == "flip" else 5)
    for image in images:
        assert image.shape == (48, 48, 3)
        assert 0 <= image.min() and image.max() <= 255


def test_a_flip_mirrors():
    found = augment(square(), tf.constant([0, 0]), settings(flip=1))
    np.testing.assert_array_equal(found, square()[:, ::-1])


def test_a_turn_a_zoom_and_a_shift_move_a_point_as_far_as_asked():
    side = 65
    image = np.zeros((side, side, 3), "float32")
    image[30:35, 30:35] = 255
    for field, value, furthest in (
        ("translation", 0.25, 0.25 * side * np.sqrt(2) + 1),
        ("rotation", 0.5, 1),
        ("zoom", 0.5, 1),
    ):
        do = tf.function(
            lambda seed, f=field, v=value: augment(
                tf.constant(image), seed, settings(**{f: v})
            )
        )
        moved = []
        for s in range(30):
            found = np.asarray(do(tf.constant([s, 1])))[..., 0]
            y, x = np.indices(found.shape)
            middle = np.array([(y * found).sum(), (x * found).sum()])
            moved.append(np.abs(middle / found.sum() - 32).max())
        assert max(moved) <= furthest
        if field == "translation":
            assert max(moved) > 0.2 * side


def test_rand_augment_does_each_operation_as_often():
    image = tf.constant(np.asarray(photograph()), tf.float32)
    do = tf.function(lambda seed: rand_augment(image, seed, 1, 6.0, 0.0))
    known = [
        (name, np.asarray(tf.round(operation(image, 6.0, tf.constant(sign)))))
        for name, operation in OPERATIONS.items()
        for sign in (1.0, -1.0)
    ]
    known.append(("nothing", np.asarray(image)))
    found = []
    for s in range(600):
        result = np.asarray(do(tf.constant([s, 3])))
        # In a graph some pixels are rounded differently.
        gaps = [np.abs(result - other).mean() for _, other in known]
        assert min(gaps) < 0.01
        found.append(known[int(np.argmin(gaps))][0])
    assert 240 <= found.count("nothing") <= 360
    for name in OPERATIONS:  # 20 expected
        assert 6 <= found.count(name) <= 40, name


@pytest.mark.parametrize("size", [(60, 90), (1, 500), (500, 1), (1, 1)])
def test_random_crops_are_inside_and_as_large_as_asked(size):
    height, width = size
    draw = tf.function(
        lambda seed: random_crop(
            tf.constant(height),
            tf.constant(width),
            seed,
            (0.1, 0.7),
            (3 / 4, 4 / 3),
        )
    )
    boxes = np.array(
        [[int(v) for v in draw(tf.constant([s, 0]))] for s in range(200)]
    )
    top, left, h, w = boxes.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (h >= 1).all() and (w >= 1).all()
    assert (top + h <= height).all() and (left + w <= width).all()
    if size == (60, 90):
        areas = h * w / (height * width)
        assert 0.09 < areas.min() < 0.2 and 0.6 < areas.max() < 0.72
        ratios = w / h
        assert 0.72 < ratios.min() < 0.85 and 1.2 < ratios.max() < 1.4
        assert len(set(top)) > 15 and len(set(left)) > 15


def test_erasing_fills_a_box_of_the_right_size_with_noise():
    image = tf.fill((64, 64, 3), 77.5)
    do = tf.function(lambda s: augment(image, s, settings(erasing=1)))
    shares = []
    for s in range(100):
        erased = (np.asarray(do(tf.constant([s, 5]))) != 77.5).all(-1)
        rows, columns = erased.any(1), erased.any(0)
        assert erased.sum() == rows.sum() * columns.sum()
        shares.append(erased.mean())
    assert 0.015 < min(shares) < 0.08 and 0.25 < max(shares) < 0.35
    do = tf.function(lambda s: augment(image, s, settings(erasing=0.25)))
    count = sum(
        bool((np.asarray(do(tf.constant([s, 5]))) != 77.5).any())
        for s in range(200)
    )
    assert 30 <= count <= 70


def batch(n=6):
    rng = np.random.default_rng(0)
    images = rng.random((n, 24, 32, 3), "float32") * 255
    return tf.constant(images), tf.constant(np.eye(n, dtype="float32"))


def test_mixup_blends_neighbours_as_their_labels():
    images, labels = batch()
    shares = []
    for s in range(20):
        seed = tf.constant([s, 1])
        mixed, soft = mix(images, labels, seed, 0.8, 0.0)
        share = float(soft[0, 0])
        other = np.asarray(images)[[1, 0, 3, 2, 5, 4]]
        expected = share * np.asarray(images) + (1 - share) * other
        np.testing.assert_allclose(mixed, expected, atol=1e-3)
        np.testing.assert_allclose(np.sum(soft, -1), 1, atol=1e-6)
        np.testing.assert_allclose(np.diag(soft), share, atol=1e-6)
        shares.append(share)
    assert min(shares) < 0.3 and max(shares) > 0.7


def test_cutmix_pastes_a_box_of_the_neighbour_and_shares_by_area():
    images, labels = batch()
    areas = []
    for s in range(20):
        mixed, soft = mix(images, labels, tf.constant([s, 2]), 0.0, 1.0)
        other = np.asarray(images)[[1, 0, 3, 2, 5, 4]]
        pasted = (np.asarray(mixed) == other).all(-1)
        kept = (np.asarray(mixed) == np.asarray(images)).all(-1)
        assert (pasted ^ kept).all() and (pasted == pasted[0]).all()
        box = pasted[0]
        assert box.sum() == box.any(0).sum() * box.any(1).sum()
        np.testing.assert_allclose(np.diag(soft), 1 - box.mean(), atol=1e-6)
        np.testing.assert_allclose(np.sum(soft, -1), 1, atol=1e-6)
        areas.append(box.mean())
    assert min(areas) < 0.15 and max(areas) > 0.4


def test_with_both_a_batch_has_either():
    images, labels = batch()
    kinds = []
    for s in range(30):
        mixed, _ = mix(images, labels, tf.constant([s, 3]), 0.8, 1.0)
        same = (np.asarray(mixed) == np.asarray(images)).mean()
        kinds.append(same > 0.01)
    assert 6 <= sum(kinds) <= 26


def test_a_part_of_a_batch_is_mixed_as_in_the_whole():
    images, labels = batch()
    seed = tf.constant([4, 4])
    whole, _ = mix(images, labels, seed, 0.8, 1.0)
    part, _ = mix(images[2:4], labels[2:4], seed, 0.8, 1.0)
    np.testing.assert_array_equal(part, whole[2:4])


def test_settings_may_be_any_object():
    fields = {name: 0 for name in AugmentConfig.model_fields}
    found = augment(square(), tf.constant([1, 1]), SimpleNamespace(**fields))
    np.testing.assert_array_equal(found, square())
