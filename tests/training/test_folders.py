"""Class folders as people have them: what is read, ignored and refused."""

import io
import json
import os

import numpy as np
import pytest
from command import inside, refused
from PIL import Image

from gcvit_training.tasks.classification.sources import open_source
from gcvit_training.tasks.sources import describe_problems


def image(path, kind=None, size=(30, 24), seed=0):
    """Writes a noise image; `P` is a BMP with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), "uint8")
    picture = Image.fromarray(pixels)
    if kind == "P":
        picture, kind = picture.quantize(8), "BMP"
    content = io.BytesIO()
    picture.save(content, kind or "JPEG")
    path.write_bytes(content.getvalue())


def counts(source):
    """Images of each class, over all splits."""
    labels = [label for files in source.files.values() for _, label in files]
    return {name: labels.count(k) for k, name in enumerate(source.names)}


def test_images_are_known_by_their_content(tmp_path):
    for i in range(3):
        image(tmp_path / f"cat/{i}.JPG")
        image(tmp_path / f"dog/{i}.jfif")
        image(tmp_path / f"fox/{i}", "PNG")
    image(tmp_path / "fox/3.tif", "TIFF")
    (tmp_path / "fox/notes.txt").write_text("a fox")
    (tmp_path / "fox/.DS_Store").write_text("hidden")
    image(tmp_path / "loose.jpg")
    source = open_source(str(tmp_path))
    assert counts(source) == {"cat": 3, "dog": 3, "fox": 3}
    assert describe_problems(source.problems) == [
        f"1 ignored (in no class folder), such as {tmp_path}/loose.jpg",
        f"1 ignored (a TIFF, which is not read), such as {tmp_path}/fox/3.tif",
        f"1 ignored (no image), such as {tmp_path}/fox/notes.txt",
    ]


def test_class_folders_are_read_with_all_in_them_as_keras_does(tmp_path):
    from keras.utils import image_dataset_from_directory

    for i in range(2):
        image(tmp_path / f"cat/{i}.jpg")
        image(tmp_path / f"cat/indoor/{i}.jpg")
        image(tmp_path / f"cat/indoor/old/{i}.jpg")
        image(tmp_path / f"dog/out.door/{i}.jpg")
    source = open_source(str(tmp_path))
    keras = image_dataset_from_directory(str(tmp_path), shuffle=False)
    assert list(source.names) == keras.class_names
    files = source.files["train"] + source.files["test"]
    assert sorted(path for path, _ in files) == sorted(keras.file_paths)
    assert counts(source) == {"cat": 6, "dog": 2}


@pytest.mark.parametrize("names", [("train", "val"), ("Training", "Test")])
def test_folders_above_the_classes_are_splits_by_their_names(tmp_path, names):
    for split in names:
        image(tmp_path / split / "cat/indoor/1.jpg")
        image(tmp_path / split / "dog/1.jpg")
    image(tmp_path / "extra/dog/2.jpg")
    source = open_source(str(tmp_path))
    assert set(source.splits) == {*names, "extra"}
    assert [source.size(split) for split in names] == [2, 2]
    assert source.names == ("cat", "dog")


def test_splits_beside_classes_are_refused(tmp_path):
    image(tmp_path / "train/cat/1.jpg")
    image(tmp_path / "dog/1.jpg")
    with pytest.raises(ValueError, match="splits .train. beside .*train/dog"):
        open_source(str(tmp_path))


def test_a_folder_called_test_may_be_a_class(tmp_path):
    image(tmp_path / "test/1.jpg")
    image(tmp_path / "other/1.jpg")
    assert open_source(str(tmp_path)).names == ("other", "test")


def test_a_class_without_images_is_refused_with_the_reason(tmp_path):
    image(tmp_path / "cat/1.jpg")
    for i in range(3):
        image(tmp_path / f"dog/{i}.tiff", "TIFF")
    with pytest.raises(ValueError, match="dog has no images.*3 are a TIFF"):
        open_source(str(tmp_path))
    image(tmp_path / "dog/3.jpg")
    (tmp_path / "fox").mkdir()
    with pytest.raises(ValueError, match="fox has no images, but would be"):
        open_source(str(tmp_path))


def test_what_a_run_writes_into_the_data_is_no_class(tmp_path):
    for i in range(3):
        image(tmp_path / f"cat/{i}.jpg")
        image(tmp_path / f"dog/{i}.jpg")
    before = open_source(str(tmp_path))
    image(tmp_path / "run/curves.png", "PNG")
    (tmp_path / "run/.lock").write_text("")
    after = open_source(str(tmp_path))
    assert after.names == ("cat", "dog") and after.files == before.files


def test_links_that_lead_back_end(tmp_path):
    image(tmp_path / "cat/1.jpg")
    (tmp_path / "cat/again").symlink_to(tmp_path / "cat")
    source = open_source(str(tmp_path))
    assert counts(source) == {"cat": 1}
    assert "a link to a folder" in describe_problems(source.problems)[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Class folders with all that stopped a check or a run."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(4):
        image(folder / f"photos/cat/{i}.jpg", seed=i)
        image(folder / f"photos/dog/{i}.png", "PNG", seed=i)
        image(folder / f"photos/dog/in/{i}.jfif", seed=9 + i)
    image(folder / "photos/cat/palette.bmp", "P")
    (folder / "photos/cat/text.jpg").write_text("no image")
    (folder / "photos/cat/empty.png").write_bytes(b"")
    (folder / "photos/cat/gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "photos/dog/folder.jpg").mkdir()
    os.mkfifo(folder / "photos/dog/pipe")
    (folder / "photos/dog/notes.txt").write_text("a dog")
    return folder


DATA = ("--set", "data.dataset=photos", "--set", "data.image_size=32")


def test_check_data_counts_all_that_a_run_cannot_read(photos):
    """Even a preview of fewer images than a batch is drawn."""
    code, output, errors = inside(
        *("train", "digits", "--check-data", "--preview", "grid.png", "--json"),
        *(*DATA, "--set", "data.holdout=0.2", "--set", "data.batch_size=256"),
        cwd=photos,
    )
    assert code == 1 and "`data.broken_share` = 0.01 stops a run" in errors
    found = json.loads(output)
    splits = found["train"], found["test"]
    assert sum(split["images"] for split in splits) == 16
    for name in ("cat", "dog"):
        assert sum(split["classes"][name] for split in splits) == 8
    broken = {
        os.path.basename(b["image"]): b["reason"]
        for split in splits
        for b in split["broken"]
    }
    assert set(broken) == {"palette.bmp", "text.jpg", "empty.png", "gone.jpg"}
    assert "no JPEG, PNG, WebP or BMP that is read" in broken["palette.bmp"]
    assert broken["gone.jpg"] == "No such file or directory"
    ignored = {i["file"]: i["reason"] for i in found["train"]["ignored"]}
    assert ignored == {
        "photos/dog/notes.txt": "no image",
        "photos/dog/pipe": "no file",
    }
    assert "1 ignored (no image), such as photos/dog/notes.txt" in errors
    with Image.open(photos / "grid.png") as grid:
        assert grid.width > 100


def test_a_preview_mixes_an_odd_number_of_images(tmp_path):
    for path in ("a/0", "a/1", "b/0", "b/1", "b/2"):  # three to train on
        image(tmp_path / f"photos/{path}.png", "PNG")
    code, _, errors = inside(
        *("train", "digits", "--preview", "grid.png", *DATA),
        *("--set", "data.holdout=0.4", "--set", "augment.mixup=0.8"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    assert (tmp_path / "grid.png").is_file()


def test_an_empty_class_is_one_line_for_the_user(tmp_path):
    image(tmp_path / "photos/cat/1.jpg")
    image(tmp_path / "photos/dog/1.tif", "TIFF")
    line = refused("train", "digits", "--check-data", *DATA, cwd=tmp_path)
    assert "photos/dog has no images, but would be a class" in line
