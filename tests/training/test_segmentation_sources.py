"""Images with label maps, found in the layouts that datasets have."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gcvit_training.tasks.segmentation.config import SegmentationDataConfig
from gcvit_training.tasks.segmentation.examples import (
    read_pair,
    training_pair,
    whole_pair,
)
from gcvit_training.tasks.segmentation.label_map import decode_numbers
from gcvit_training.tasks.segmentation.sources import layouts, open_source


def save(path, numbers, mode="L", **options):
    """Writes a label map, or with three channels an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.uint8(numbers))
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        palette = np.random.default_rng(0).integers(0, 256, 768)
        image.putpalette(np.uint8(palette).tobytes())
    image.save(path, **options)


def pair(folder, image, labels, numbers=((0, 1), (2, 255)), mode="L"):
    numbers = np.array(numbers)
    save(folder / image, np.zeros((*numbers.shape, 3)))
    save(folder / labels, numbers, mode)


def data(folder, **fields):
    return SegmentationDataConfig(
        **{
            "dataset": str(folder),
            "batch_size": 1,
            "evaluation_split": "val",
            **fields,
        }
    )


def classes(source, split="train", place=0):
    """Label map of an example, classes and 255."""
    (example,) = source.examples(split).skip(place).take(1)
    _, labels = read_pair(source.load(example), source.table)
    return labels.numpy()


@pytest.mark.parametrize("bits, most", [(8, 256), (4, 16), (2, 4), (1, 2)])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_numbers_of_pixels_are_pillow_s(tmp_path, mode, bits, most):
    numbers = np.random.default_rng(1).integers(0, most, (13, 17))
    path = tmp_path / "map.png"
    save(path, numbers, mode, **({"bits": bits} if mode == "P" else {}))
    content = path.read_bytes()
    assert content[24] == (bits if mode == "P" else 8)
    found = decode_numbers(tf.constant(content))
    np.testing.assert_array_equal(found, np.array(Image.open(path)))


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda p: save(p, np.zeros((4, 4, 3))), "without a palette"),
        (lambda p: Image.new("I;16", (4, 4)).save(p), "more than 8 bits"),
        (lambda p: p.write_bytes(b"GIF89a" + 60 * b"0"), "no PNG"),
        (lambda p: p.write_bytes(b""), "no PNG, or nothing"),
    ],
)
def test_files_that_are_no_label_maps_are_refused(tmp_path, write, words):
    path = tmp_path / "map.png"
    write(path)
    with pytest.raises(tf.errors.OpError, match=words):
        decode_numbers(tf.constant(path.read_bytes()))


@pytest.mark.parametrize("name", ["labels", "masks", "annotations"])
def test_a_plain_folder(tmp_path, name):
    for split in ("train", "val"):
        pair(tmp_path, f"images/{split}/a/1.jpg", f"{name}/{split}/a/1.png")
    (tmp_path / "labels.txt").write_text("sky\nsea\nsand\n")
    source = open_source(data(tmp_path))
    assert source.names == ("sky", "sea", "sand")
    assert (source.size("train"), source.size("val")) == (1, 1)
    np.testing.assert_array_equal(classes(source), [[0, 1], [2, 255]])


def test_ade20k(tmp_path):
    for split in ("training", "validation"):
        pair(
            tmp_path,
            f"images/{split}/ADE_1.jpg",
            f"annotations/{split}/ADE_1.png",
            [[0, 1], [2, 3]],
        )
    (tmp_path / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tName\n1\t0.1\t9\t9\twall\n"
        "2\t0.1\t9\t9\tbuilding, edifice\n3\t0.1\t9\t9\tsky\n"
    )
    for reduces in (True, False):  # the file says that they count from 1
        source = open_source(data(tmp_path, reduce_zero_label=reduces))
        assert source.names == ("wall", "building", "sky")
        np.testing.assert_array_equal(classes(source), [[255, 0], [1, 2]])


@pytest.mark.parametrize(
    "ending, numbers",
    [("labelTrainIds", [[0, 18], [255, 11]]), ("labelIds", [[7, 33], [4, 24]])],
)
def test_cityscapes(tmp_path, ending, numbers):
    for split in ("train", "val"):
        pair(
            tmp_path,
            f"leftImg8bit/{split}/ulm/ulm_0_1_leftImg8bit.png",
            f"gtFine/{split}/ulm/ulm_0_1_gtFine_{ending}.png",
            numbers,
        )
        save(
            tmp_path / f"gtFine/{split}/ulm/ulm_0_1_gtFine_color.png",
            np.zeros((2, 2, 3)),
        )
    source = open_source(data(tmp_path))
    assert len(source.names) == 19 and source.names[18] == "bicycle"
    np.testing.assert_array_equal(classes(source), [[0, 18], [255, 11]])


def test_cityscapes_maps_of_two_kinds_are_refused(tmp_path):
    kinds = {"train": "labelTrainIds", "val": "labelIds"}
    for split, ending in kinds.items():
        pair(
            tmp_path,
            f"leftImg8bit/{split}/ulm/ulm_0_1_leftImg8bit.png",
            f"gtFine/{split}/ulm/ulm_0_1_gtFine_{ending}.png",
            [[7, 7], [7, 7]],
        )
    with pytest.raises(ValueError, match="labelTrainIds in 'train', labelIds"):
        open_source(data(tmp_path))


def test_pascal_voc_takes_what_its_sets_list(tmp_path):
    sets = tmp_path / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    for split, names in {"train": ["b", "a"], "val": ["c"]}.items():
        (sets / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            pair(
                tmp_path,
                f"JPEGImages/{name}.jpg",
                f"SegmentationClass/{name}.png",
                [[0, 20], [255, ord(name) - 96]],
                mode="P",
            )
    pair(tmp_path, "JPEGImages/d.jpg", "SegmentationClass/d.png")
    source = open_source(data(tmp_path))
    assert source.names[20] == "tvmonitor" and len(source.names) == 21
    assert (source.size("train"), source.size("val")) == (2, 1)
    np.testing.assert_array_equal(classes(source), [[0, 20], [255, 2]])


def test_coco_s_numbers_with_gaps_become_classes(tmp_path):
    for split in ("train2017", "val2017"):
        pair(
            tmp_path,
            f"{split}/1.jpg",
            f"annotations/semantic_{split}/1.png",
            [[0, 1], [13, 200]],
        )
    (tmp_path / "annotations" / "semantic_classes.json").write_text(
        json.dumps({"1": "person", "200": "rug", "13": "stop sign"})
    )
    source = open_source(data(tmp_path))
    assert source.names == ("person", "stop sign", "rug")
    np.testing.assert_array_equal(classes(source), [[255, 0], [1, 2]])


def test_without_splits_a_share_is_held_out(tmp_path):
    for i in range(10):
        pair(tmp_path, f"images/{i}.jpg", f"labels/{i}.png")
    source = open_source(
        data(tmp_path, evaluation_split="test", holdout=0.3, classes=3)
    )
    assert (source.size("train"), source.size("test")) == (7, 3)
    assert source.names == ("class 0", "class 1", "class 2")


def test_one_pair_cannot_be_split(tmp_path):
    pair(tmp_path, "images/1.jpg", "labels/1.png")
    with pytest.raises(ValueError, match="`data.holdout` must be above 0, of"):
        open_source(data(tmp_path, evaluation_split="test", classes=3))


def test_a_dataset_of_tfds_with_label_maps(tmp_path):
    import tensorflow_datasets as tfds

    image = tfds.features.Image
    writer = tfds.dataset_builders.store_as_tfds_dataset
    row = {
        "image": np.zeros((2, 2, 3), "uint8"),
        "segmentation_mask": np.uint8([[[1], [2]], [[3], [1]]]),
    }
    builder = writer(
        name="maps",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": image(shape=(None, None, 3)),
                "segmentation_mask": image(shape=(None, None, 1)),
            }
        ),
        split_datasets={s: [("0", row)] for s in ("train", "val")},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    source = open_source(
        data(builder.data_dir, classes=3, reduce_zero_label=True)
    )
    np.testing.assert_array_equal(classes(source), [[0, 1], [2, 0]])


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "`data.classes` must be the number of classes"),
        ({"classes": 2, "evaluation_split": "test"}, "must name splits of"),
        ({"classes": 300}, "numbers for 255 classes"),
        ({"dataset": "/nowhere"}, "`data.dataset` is no folder: /nowhere"),
        ({"dataset": "no_such_data"}, "a name that TFDS knows"),
    ],
)
def test_datasets_that_cannot_be_used_are_refused(tmp_path, fields, words):
    for split in ("train", "val"):
        pair(tmp_path, f"images/{split}/1.jpg", f"labels/{split}/1.png")
    with pytest.raises(ValueError, match=words):
        open_source(data(tmp_path, **fields))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("labels.txt", b"sky\n\nsea\n", "line 2 is blank"),
        ("classes.txt", b"sky\nm\xe9r\n", "classes.txt must be UTF-8: "),
    ],
)
def test_names_that_cannot_be_read_are_refused(tmp_path, name, content, words):
    for split in ("train", "val"):
        pair(tmp_path, f"images/{split}/1.jpg", f"labels/{split}/1.png")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        open_source(data(tmp_path))


def test_what_is_no_pair_is_told(tmp_path):
    for split in ("train", "val"):
        pair(tmp_path, f"images/{split}/1.jpg", f"labels/{split}/1.png")
    pair(tmp_path, "images/train/twice.jpg", "labels/train/twice.png")
    pair(tmp_path, "images/train/twice.png", "labels/train/other.png")
    pair(tmp_path, "images/train/photo.jpg", "labels/train/photo.jpeg")
    source = open_source(data(tmp_path, classes=3))
    assert source.size("train") == 1
    told = {(Path(p.where).name, p.reason) for p in source.problems["train"]}
    assert told == {
        ("twice.jpg", layouts.SAME_NAME),
        ("twice.png", layouts.SAME_NAME),
        ("other.png", layouts.NO_IMAGE),
        ("photo.jpg", layouts.NO_MAP),
        ("photo.jpeg", layouts.NO_PNG),
    }


def test_a_split_without_pairs_says_why(tmp_path):
    for split in ("train", "val"):
        pair(tmp_path, f"images/{split}/1.jpg", f"labels/{split}/1_mask.png")
    words = r"1 ignored \(an image without a label map\), such as .*1.jpg; 1 ig"
    with pytest.raises(ValueError, match=words):
        open_source(data(tmp_path, classes=3))


def test_a_folder_of_another_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="images/SPLIT beside labels/SPLIT"):
        open_source(data(tmp_path, classes=2))


def crop(image, labels, seed=0, **fields):
    """A training crop, by settings that change nothing but what is said."""
    settings = {
        "scale": (1.0, 1.0),
        "class_share": 1.0,
        "flip": 0.0,
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
        **fields,
    }
    side = settings.pop("crop_size", 8)
    found = training_pair(
        tf.constant(image),
        tf.constant(labels),
        tf.constant([seed, 1]),
        SimpleNamespace(crop_size=side, short_side=None, long_side=2048),
        SimpleNamespace(**settings),
    )
    return [np.asarray(x) for x in found]


def test_a_crop_cuts_image_and_labels_at_the_same_place():
    labels = np.arange(400, dtype="int32").reshape(20, 20) % 251
    image = np.repeat(labels[..., None], 3, axis=-1).astype("uint8")
    places = set()
    for seed in range(20):
        found, cut = crop(image, labels, seed)
        np.testing.assert_array_equal(found[..., 0], cut)
        places.add(int(cut[0, 0]))
    assert len(places) > 15


def test_flips_turn_image_and_labels():
    labels = np.arange(64, dtype="int32").reshape(8, 8)
    image = np.repeat(labels[..., None], 3, axis=-1).astype("uint8")
    found, cut = crop(image, labels, flip=1.0)
    np.testing.assert_array_equal(cut, labels[:, ::-1])
    np.testing.assert_array_equal(found[..., 0], cut)


def test_what_is_outside_of_a_small_image_is_ignored():
    image, labels = np.full((5, 4, 3), 9, "uint8"), np.ones((5, 4), "int32")
    found, cut = crop(image, labels, brightness=0.5, seed=3)
    assert (cut[:5, :4] == 1).all() and (cut == 1).sum() == 20
    assert (cut[5:] == 255).all() and (cut[:, 4:] == 255).all()
    mean = [123.675, 116.28, 103.53]
    np.testing.assert_allclose(found[5:], np.full((3, 8, 3), mean), rtol=1e-5)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_labels_are_resized_by_the_nearest_as_pillow_does(factor):
    labels = np.random.default_rng(0).integers(0, 5, (24, 16)).astype("int32")
    image = np.zeros((24, 16, 3), "uint8")
    size = int(16 * factor), int(24 * factor)
    expected = Image.fromarray(np.uint8(labels)).resize(
        size, Image.Resampling.NEAREST
    )
    _, cut = crop(image, labels, crop_size=48, scale=(factor, factor))
    np.testing.assert_array_equal(cut[: size[1], : size[0]], np.array(expected))


def test_halves_of_a_pixel_are_rounded_up_as_in_segment():
    """`segment` rounds as mmcv does: 2.5 pixels are 3, and not 2."""
    image, labels = np.zeros((5, 10, 3), "uint8"), np.zeros((5, 10), "int32")
    _, cut = crop(image, labels, scale=(0.5, 0.5))
    assert (cut[:3, :5] == 0).all() and (cut != 255).sum() == 15
    reduced = whole_pair(tf.constant(image), tf.constant(labels), 5)
    assert reduced["sizes"].numpy().tolist() == [3, 5]


def test_crops_of_one_class_are_drawn_again():
    labels = np.zeros((8, 200), "int32")
    labels[:, 190:] = 1
    image = np.zeros((8, 200, 3), "uint8")
    mixed = [
        sum(
            len(np.unique(crop(image, labels, s, class_share=share)[1])) > 1
            for s in range(30)
        )
        for share in (1.0, 0.95)
    ]
    assert mixed[0] < 8 and mixed[1] > 10


def test_images_are_measured_as_they_are_or_reduced():
    labels = np.random.default_rng(0).integers(0, 9, (6, 10)).astype("int32")
    image = (
        np.random.default_rng(1).integers(0, 255, (6, 10, 3)).astype("uint8")
    )
    whole = whole_pair(tf.constant(image), tf.constant(labels), 12)
    assert whole["sizes"].numpy().tolist() == [6, 10]
    np.testing.assert_array_equal(whole["images"][:6, :10], image)
    np.testing.assert_array_equal(whole["labels"][:6, :10], labels)
    assert (whole["labels"].numpy()[6:] == 255).all()
    reduced = whole_pair(tf.constant(image), tf.constant(labels), 5)
    assert reduced["sizes"].numpy().tolist() == [3, 5]
    nearest = Image.fromarray(np.uint8(labels)).resize((5, 3), 0)
    np.testing.assert_array_equal(reduced["labels"][:3, :5], np.array(nearest))
