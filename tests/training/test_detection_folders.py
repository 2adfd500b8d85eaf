"""What annotation tools write, and what of it is odd."""

import json

import numpy as np
import pytest
from annotated import coco, picture, voc, yolo

from gcvit_training.tasks.detection.sources import open_source


def why(source, split="train"):
    return [problem.reason for problem in source.problems[split]]


def voc_objects(folder, *objects, root="<annotation>"):
    """Writes the objects of `voc`'s image: name, and what else of each."""
    voc(folder, with_masks=False)
    box = "<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>20</ymax>"
    text = "".join(
        f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"
        for name, more in objects
    )
    size = "<size><width>60</width><height>40</height></size>"
    path = folder / "Annotations" / "a.xml"
    path.write_text(f"{root}{size}{text}</annotation>")


def test_difficult_objects_of_voc_are_as_crowds(tmp_path):
    difficult = "<difficult>1</difficult>"
    voc_objects(
        tmp_path,
        ("dog", "<difficult>0</difficult>"),
        ("dog", difficult),
        ("cat", ""),
    )
    source = open_source(str(tmp_path), ["train"])
    (item,) = source.items["train"]
    assert item.is_crowd.tolist() == [False, True, False]
    (reason,) = why(source)
    assert reason.startswith("difficult: not learned")


def test_objects_without_a_name_are_left_out(tmp_path):
    voc_objects(tmp_path, ("dog", ""), ("", ""))
    source = open_source(str(tmp_path), ["train"])
    assert source.names == ("dog",)
    assert why(source) == ["an unknown class"]


def test_voc_s_elements_may_have_a_namespace(tmp_path):
    root = '<annotation xmlns="http://example.org/voc">'
    voc_objects(tmp_path, ("dog", ""), root=root)
    (item,) = open_source(str(tmp_path), ["train"]).items["train"]
    assert item.boxes.tolist() == [[10, 5, 30, 20]]


def test_a_broken_picture_of_masks_is_one_problem(tmp_path):
    voc(tmp_path, with_masks=True)
    (tmp_path / "SegmentationObject" / "a.png").write_bytes(b"no PNG")
    source = open_source(str(tmp_path), ["train"])
    first, second = why(source)
    assert first.startswith("no image that can be read")
    assert second == "no mask"


def test_yolo_without_splits_is_held_out_by_name(tmp_path):
    for i in range(10):
        picture(tmp_path / "images" / f"{i}.jpg")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{i}.txt").write_text("1 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.yaml").write_text("a: 1")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    source = open_source(str(tmp_path), ["train", "test"], holdout=0.2)
    assert (source.size("train"), source.size("test")) == (8, 2)
    paths = {item.path for item in source.all_items}
    assert len(paths) == 10
    assert source.all_items[0].boxes.tolist() == [[15, 10, 45, 30]]


@pytest.mark.parametrize("holdout, images", [(0.1, 1), (0.0, 2)])
def test_a_file_of_which_nothing_is_held_out_is_refused(
    tmp_path, holdout, images
):
    images = [{"id": k, "file_name": f"{k}.jpg"} for k in range(images)]
    coco(tmp_path, [{"image_id": 0}], images=images, name="all.json")
    with pytest.raises(ValueError) as refused:
        open_source(str(tmp_path), ["train", "test"], holdout=holdout)
    words = "`data.holdout` must be above 0, of two images at least"
    assert words in str(refused.value)
    received = f"holdout={holdout}, of {len(images)} images in {tmp_path}"
    assert received in str(refused.value)


@pytest.mark.parametrize("names", ["ab", "[{a: 1}, b]", "{1: a, 2: b}", "[]"])
def test_names_that_are_no_list_are_refused(tmp_path, names):
    yolo(tmp_path, "0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text(f"names: {names}")
    with pytest.raises(ValueError, match="`names` are a list of the classes"):
        open_source(str(tmp_path), ["train"])


def test_names_that_are_not_utf_8_are_refused_with_their_file(tmp_path):
    yolo(tmp_path, "0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_bytes("names: [caf\xe9]".encode("latin-1"))
    with pytest.raises(ValueError, match="data.yaml must be UTF-8: "):
        open_source(str(tmp_path), ["train"])


def test_a_picture_that_is_listed_twice_is_in_one_split(tmp_path):
    images = [
        {"id": i, "file_name": f"{i % 5}.jpg", "height": 40, "width": 60}
        for i in range(10)
    ]
    coco(
        tmp_path,
        [{"image_id": i} for i in range(10)],
        images=images,
        name="all.json",
    )
    source = open_source(str(tmp_path), ["train", "test"], holdout=0.4)
    names = [item.path for item in source.all_items]
    assert len(names) == len(set(names)) == 5
    assert source.size("test") == 2
    assert why(source).count("a duplicate file_name") == 3


def test_areas_that_are_no_numbers_are_counted(tmp_path):
    coco(tmp_path, [{"area": "x"}, {"area": float("nan")}, {"area": "300"}])
    source = open_source(str(tmp_path), ["train"])
    assert why(source) == [
        "an area that is no number",
        "an area that is not finite",
    ]
    np.testing.assert_array_equal(source.items["train"][0].areas, [300])


def test_coco_s_json_may_begin_with_a_mark(tmp_path):
    coco(tmp_path, [{}])
    (path,) = (tmp_path / "annotations").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text())), "utf-8-sig")
    assert open_source(str(tmp_path), ["train"]).size("train") == 1
