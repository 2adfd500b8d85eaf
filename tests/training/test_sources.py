"""Datasets: the digits, TFDS, class folders, TFRecords."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from gcvit_training.tasks.classification.sources import (
    Sample,
    check_splits,
    open_source,
)
from gcvit_training.tasks.classification.sources.records import INDEX


def png(value, size=(4, 4)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(file, "PNG")
    return file.getvalue()


def read(source, split, **options):
    """Encoded images and labels of a split."""
    examples = source.examples(split, **options).map(source.load)
    return [(e, int(k)) for e, k in examples.as_numpy_iterator()]


def write_records(path, examples, one=0):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in examples:
            features = {
                "image/encoded": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[image])
                ),
                "image/class/label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[label + one])
                ),
            }
            example = tf.train.Example(
                features=tf.train.Features(feature=features)
            )
            writer.write(example.SerializeToString())


def test_digits_are_scikit_learns_each_in_one_split(digits):
    images, labels = load_digits(return_X_y=True)
    expected = sorted(
        (int(label), np.round(image * 255 / 16).astype("uint8").tobytes())
        for image, label in zip(images, labels, strict=True)
    )
    found = [
        (label, np.asarray(Image.open(io.BytesIO(encoded))).tobytes())
        for split in ("train", "test")
        for encoded, label in read(digits, split)
    ]
    assert (digits.size("train"), digits.size("test")) == (1437, 360)
    assert sorted(found) == expected


def test_digits_hold_out_a_fifth_of_every_class(digits):
    train, test = (
        np.bincount([label for _, label in read(digits, split)])
        for split in ("train", "test")
    )
    # To within the one image that cannot be split.
    assert np.abs(test - 0.2 * (train + test)).max() < 1


def test_digits_are_on_disk_and_not_written_twice(digits, data_dir):
    files = sorted(data_dir.rglob("*.tfrecord*"))
    assert len(files) == 2
    times = [f.stat().st_mtime_ns for f in files]
    open_source("digits", data_dir)
    assert times == [f.stat().st_mtime_ns for f in files]


def test_a_folder_that_tfds_wrote_is_that_dataset(digits, data_dir):
    source = open_source(str(data_dir / "digits" / "1.0.0"))
    assert source.names == digits.names
    assert read(source, "test") == read(digits, "test")


def test_parts_of_splits_are_tfdss(digits):
    everything = read(digits, "train")
    parts = [read(digits, f"train[{a}]") for a in (":30%", "30%:", "5:7")]
    assert parts[0] + parts[1] == everything
    assert parts[2] == everything[5:7]
    assert digits.size("train[5:7]") == 2


@pytest.fixture
def folders(tmp_path):
    """Class folders without splits: five cats, three dogs."""
    for name, count in (("cat", 5), ("dog", 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.png").write_bytes(png(10 * i))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_class_folders_hold_out_a_share_of_every_class(folders):
    source = open_source(str(folders), holdout=0.4)
    assert source.names == ("cat", "dog")
    held = [label for _, label in read(source, "test")]
    assert held == [0, 0, 1]
    files = source.files["train"] + source.files["test"]
    assert len({path for path, _ in files}) == 8


def test_a_file_stays_in_its_split_when_another_comes(folders):
    before = set(open_source(str(folders), holdout=0.4).files["test"])
    (folders / "dog" / "new.png").write_bytes(png(7))
    after = set(open_source(str(folders), holdout=0.4).files["test"])
    assert len(before & after) >= len(before) - 1


def test_class_folders_with_splits(folders, tmp_path):
    root = tmp_path / "splits"
    for split in ("train", "val"):
        root.joinpath(split).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / name).rename(root / split / name)
            (tmp_path / name).mkdir()
            (tmp_path / name / "0.png").write_bytes(png(1))
    source = open_source(str(root))
    assert source.splits == ("train", "val")
    assert [source.size(s) for s in source.splits] == [8, 2]
    assert read(source, "val") == [(png(1), 0), (png(1), 1)]


@pytest.mark.parametrize("one", [0, 1])
def test_tfrecords_whose_labels_count_from_either(tmp_path, one):
    examples = [(png(i), i % 3) for i in range(7)]
    write_records(tmp_path / "train_00000_of_2.tfrecord", examples[:4], one)
    write_records(tmp_path / "train-1-of-2.tfrecord", examples[4:], one)
    write_records(tmp_path / "val.tfrecord", examples[:2], one)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n\n")
    for _ in range(2):  # the second time from the index
        source = open_source(str(tmp_path))
        assert source.splits == ("train", "val")
        assert source.names == ("a", "b", "c")
        assert source.size("train") == 7
        assert sorted(read(source, "train")) == sorted(examples)
        assert read(source, "val") == examples[:2]
    assert (tmp_path / INDEX).is_file()


def test_records_are_shuffled_by_seed(digits):
    def order(seed):
        tf.random.set_seed(1)
        return read(digits, "test", seed=seed, buffer=400)

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == sorted(read(digits, "test"))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda p: None, "has no class folders of images"),
        (lambda p: write_records(p / "a.tfrecord", []), "labels.txt must name"),
        (
            lambda p: (
                (p / "labels.txt").write_text("a\n"),
                write_records(p / "a.tfrecord", [(b"", 5)]),
            ),
            "has labels 5 to 5, for 1 classes",
        ),
        (
            lambda p: (
                (p / "labels.txt").write_text("a\n"),
                (p / "a.tfrecord").write_text("this is not a record file"),
            ),
            "is no TFRecord file",
        ),
    ],
)
def test_folders_that_are_no_dataset_are_refused(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(ValueError, match=words):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    "name, words",
    [
        ("digit", "must be digits, a name that TFDS knows or a folder"),
        ("./photos", "is no folder: ./photos"),
    ],
)
def test_unknown_datasets_are_refused(name, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        open_source(name, tmp_path)


@pytest.mark.parametrize("split", ["trian", "train[", "train[5:5]"])
def test_splits_that_are_not_there_are_refused(digits, split):
    with pytest.raises(ValueError, match="`data.train_split` "):
        check_splits(
            digits, SimpleNamespace(train_split=split, evaluation_split="test")
        )


@pytest.mark.parametrize("count, places", [(1, [0]), (3, [0, 2, 5])])
def test_a_sample_is_spread_over_the_split(tmp_path, count, places):
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "test" / name / f"{i}.png").write_text(f"{name} {i}")
    source = open_source(str(tmp_path))
    sample = Sample(source, count)
    assert sample.size("test") == count and sample.names == ("cat", "dog")
    found = [sample.load(example) for example in sample.examples("test")]
    wanted = [f"{n} {i}" for n in ("cat", "dog") for i in range(3)]
    texts = [text.numpy().decode() for text, _ in found]
    assert texts == [wanted[k] for k in places]
    assert [int(label) for _, label in found] == [k // 3 for k in places]


def test_a_sample_of_more_than_there_are_is_all(digits):
    sample = Sample(digits, 10**6)
    assert sample.size("test") == digits.size("test")
    assert len(list(sample.examples("test"))) == digits.size("test")
