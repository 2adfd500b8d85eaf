"""Detection's data: COCO, Pascal VOC and YOLO become one index."""

import io
import json
import re

import composites
import numpy as np
import pytest
import tensorflow_datasets as tfds
from annotated import (
    SQUARE,
    coco,
    picture,
    squares_mask,
    voc,
    yolo,
    yolo_polygon,
)
from command import inside
from PIL import Image

from gcvit_training import read_config, train
from gcvit_training.tasks import open_task
from gcvit_training.tasks.detection.masks import decode, to_rle
from gcvit_training.tasks.detection.sources import open_source
from gcvit_training.tasks.sources import count_problems


def test_coco_is_read_as_pycocotools_reads_it(tmp_path):
    mask_api = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(1)
    shapes = [random.random((40, 60)) < 0.5, squares_mask()]
    polygon = (random.random((9, 2)) * [60, 40]).ravel().tolist()
    counts = [0, 3, 40 * 60 - 3]
    forms = [
        [polygon],
        [polygon, SQUARE],
        {"size": [40, 60], "counts": counts},
        *(composites.outline(shape)["segmentation"] for shape in shapes),
    ]
    rows = [
        {"segmentation": form, "iscrowd": int(k > 1)}
        for k, form in enumerate(forms)
    ]
    coco(tmp_path, rows)
    source = open_source(str(tmp_path), ["train"])
    (item,) = source.items["train"]
    assert source.names == ("cat", "dog") and source.categories == (3, 9)
    assert item.path == str(tmp_path / "train" / "a.jpg") and item.id == 7
    assert item.is_crowd.tolist() == [False, False, True, True, True]
    np.testing.assert_array_equal(item.boxes, [[10, 5, 30, 20]] * 5)
    for form, mask in zip(forms, item.masks, strict=True):
        if isinstance(form, list):
            rle = mask_api.merge(mask_api.frPyObjects(form, 40, 60))
        elif isinstance(form["counts"], list):
            rle = mask_api.frPyObjects(form, 40, 60)
        else:
            rle = form
        np.testing.assert_array_equal(decode(mask), mask_api.decode(rle))


def test_voc_as_it_is_downloaded_has_masks_of_few_objects(tmp_path):
    voc(tmp_path, True)
    xml = (tmp_path / "Annotations" / "a.xml").read_text()
    for name in "bc":
        # Cameras write their suffix so.
        picture(tmp_path / "JPEGImages" / f"{name}.JPG")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml)
    split = tmp_path / "ImageSets" / "Main" / "train.txt"
    split.write_text("a\nb\nc\n")
    source = open_source(str(tmp_path), ["train"])
    assert not source.has_masks and not source.problems["train"]
    files = [item.path[-5:] for item in source.items["train"]]
    assert files == ["a.jpg", "b.JPG", "c.JPG"]
    assert all(len(item.boxes) == 1 for item in source.items["train"])


def test_an_image_whose_annotations_cannot_be_read_is_no_background(tmp_path):
    voc(tmp_path, False)
    picture(tmp_path / "JPEGImages" / "b.jpg")
    (tmp_path / "Annotations" / "b.xml").write_text("<annotation>")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    source = open_source(str(tmp_path), ["train"])
    assert [item.path[-5:] for item in source.items["train"]] == ["a.jpg"]
    (problem,) = source.problems["train"]
    assert problem.where.endswith("b.xml") and "no XML" in problem.reason


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_every_kind_of_folder_gives_the_same_object(tmp_path, kind, with_masks):
    if kind == "coco":
        masks = {} if with_masks else {"segmentation": []}
        coco(tmp_path, [{"category_id": 9, **masks}])
    elif kind == "voc":
        voc(tmp_path, with_masks)
    elif with_masks:
        yolo(tmp_path, yolo_polygon())
    else:
        yolo(tmp_path, "1 0.333333333 0.3125 0.333333333 0.375\n")
    source = open_source(str(tmp_path), ["train"])
    (item,) = source.items["train"]
    assert item.size == (40, 60) and item.path.endswith("a.jpg")
    assert [source.names[k] for k in item.classes] == ["dog"]
    np.testing.assert_allclose(item.boxes, [[10, 5, 30, 20]], atol=1e-5)
    assert item.areas.tolist() == pytest.approx([300])
    assert source.has_masks == with_masks
    if with_masks:
        np.testing.assert_array_equal(decode(item.masks[0]), squares_mask())
    else:
        assert item.masks is None


def test_what_is_wrong_with_annotations_is_counted(tmp_path):
    crossing = [10, 5, 30, 20, 30, 5, 10, 20]
    wrong = {
        "an area of zero": {"bbox": [10, 5, 0, 15]},
        "outside of its image": {"bbox": [70, 5, 20, 15]},
        "an unknown class": {"category_id": 4},
        "an empty polygon": {"segmentation": [[10, 5, 30, 5]]},
        "an RLE of another size": {
            "segmentation": {"size": [60, 40], "counts": [0, 2400]}
        },
        "an RLE that does not fill its size": {
            "segmentation": {"size": [40, 60], "counts": [0, 24]}
        },
        "a box that is no four numbers": {"bbox": [1, 2]},
        "an image that is not listed": {"image_id": 8},
        "no mask": {"segmentation": None},
    }
    doubtful = {
        "partly outside of its image": {"bbox": [50, 5, 20, 15]},
        "a self-crossing polygon": {"segmentation": [crossing]},
        "a duplicate id": {"id": 1},
    }
    coco(tmp_path, [{}, *wrong.values(), *doubtful.values(), *[{}] * 9])
    source = open_source(str(tmp_path), ["train"], thorough=True)
    found = count_problems(source.problems["train"])
    assert set(found) == {*wrong, *doubtful}
    for reason, row in found.items():
        assert row["count"] == 1 and row["used"] == (reason in doubtful)
        place = (list({"": 0} | wrong | doubtful).index(reason)) + 1
        number = 1 if reason == "a duplicate id" else place
        assert row["first"] == f"annotation {number}"
    assert len(source.items["train"][0].boxes) == 10 + len(doubtful)


@pytest.mark.parametrize(
    "counts, reason",
    [(b"0" * 7, "does not fill"), (b"P", "cut off"), ("1o", "cut off")],
)
def test_bytes_that_are_no_run_lengths_are_refused(counts, reason):
    with pytest.raises(ValueError, match=reason):
        to_rle({"size": [4, 5], "counts": counts}, (4, 5))


RECIPE = """
task: detection
epochs: 1
data: {{dataset: {folder}, train_split: train, evaluation_split: train,
  batch_size: 1}}
optimizer: {{learning_rate: 1.0e-3}}
model: {{embed_dim: 8, depths: [1, 1, 1, 1], num_heads: [1, 1, 1, 1],
  mlp_ratio: 1}}
"""


def test_a_run_stops_above_the_share_of_broken_annotations(tmp_path):
    coco(tmp_path, [{"area": 0}, {}, {}, {}])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    config = read_config(recipe)
    with pytest.raises(ValueError, match="1 of 4 .* 'train' cannot be used"):
        train(config, tmp_path / "run", verbose=0)
    task = open_task(read_config(recipe, ["data.broken_share=0.25"]))
    task.check()
    assert task.notes() == [
        "train: 1 left out (an area of zero), such as annotation 1"
    ]


def test_one_file_without_splits_is_held_out_by_name(tmp_path):
    def images(count):
        return [
            {"id": k, "file_name": f"{k}.jpg", "height": 40, "width": 60}
            for k in range(1, count + 1)
        ]

    splits = []
    for folder, count in ((tmp_path / "few", 20), (tmp_path / "more", 30)):
        coco(folder, [{"image_id": 1}], "images", images(count), "result.json")
        source = open_source(str(folder), ["train", "test"], holdout=0.2)
        ids = [{i.id for i in source.items[s]} for s in ("train", "test")]
        assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == count
        assert len(ids[1]) == count // 5
        splits.append(ids)
    # Of the first ones most stay where they were.
    assert len(splits[0][0] & splits[1][0]) >= 13


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_file_called_as_a_split_is_not_trained_on_and_measured(
    tmp_path, split
):
    images = [
        {"id": k, "file_name": f"{k}.jpg", "height": 40, "width": 60}
        for k in range(1, 21)
    ]
    coco(tmp_path, [{"image_id": 1}], split, images)
    source = open_source(str(tmp_path), ["train", "test"], holdout=0.2)
    ids = [{i.id for i in source.items[s]} for s in ("train", "test")]
    assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == 20
    whole = open_source(str(tmp_path), [split])  # where no other is wanted
    assert len(whole.items[split]) == 20


@pytest.mark.parametrize(
    "split, text, message",
    [
        ("val", None, "`data` must name splits with images, of .*'val'"),
        ("train", "[]", "must have COCO's JSON, Pascal VOC's Annotations or"),
        ("train", '{"images": 1', "is not JSON"),
        ("train", '{"images": {}}', "a list of objects 'images'"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    tmp_path, split, text, message
):
    coco(tmp_path, [{}])
    (path,) = tmp_path.glob("annotations/*.json")
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(str(tmp_path), [split])


def test_a_split_without_objects_is_refused_before_the_run(tmp_path):
    coco(tmp_path, [{}])
    images = [{"id": 9, "file_name": "b.jpg", "height": 40, "width": 60}]
    crowd = {"iscrowd": 1, "image_id": 9}
    coco(tmp_path, [crowd], "val", images)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    config = read_config(recipe, ["data.evaluation_split=val"])
    with pytest.raises(ValueError, match="none in the 1 images of 'val'"):
        train(config, tmp_path / "run", verbose=0)


def test_masks_of_part_of_the_objects_do_not_count(tmp_path):
    coco(tmp_path, [{"segmentation": []}] * 2 + [{}])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    task = open_task(read_config(recipe))
    assert task.loss_names == ("rpn_cls", "rpn_box", "cls", "box")
    assert re.search("boxes only: there is no mask loss", task.notes()[-1])


def test_a_check_reads_everything_and_says_what_is_there(tmp_path):
    images = [
        {"id": k, "file_name": f"{k}.jpg", "height": 40, "width": 60}
        for k in range(1, 6)
    ]
    rows = [
        {"image_id": 1},
        {"image_id": 1, "category_id": 9, "area": 2000},
        {"image_id": 2, "iscrowd": 1},
        {"image_id": 3, "area": 0},
        {"image_id": 5},
    ]
    coco(tmp_path, rows, images=images)
    (tmp_path / "train" / "4.jpg").write_text("no image")
    picture(tmp_path / "train" / "5.jpg", 50, 60)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    code, output, errors = inside(
        "train", recipe, "--check-data", "--json", cwd=tmp_path
    )
    assert code == 1
    words = "2 of 5 images of 'train', 1 of 5 annotations of 'train' "
    assert f"error: {words}" in errors
    found = json.loads(output)["train"]
    (text, other) = found.pop("broken")
    assert text["image"].endswith("4.jpg") and "no JPEG" in text["reason"]
    assert other["reason"] == "60 x 50 pixels, annotated as 60 x 40"
    assert found == {
        "images": 5,
        "annotations": 5,
        "objects": 3,
        "classes": {"cat": 2, "dog": 1},
        "crowds": 1,
        "empty": 3,
        "small": 2,
        "medium": 1,
        "large": 0,
        "least_size": [40, 60],
        "largest_size": [40, 60],
        "rotated": 0,
        "problems": {
            "an area of zero": {
                "count": 1,
                "used": False,
                "first": "annotation 4",
            }
        },
    }
    _, page, _ = inside("train", recipe, "--check-data", cwd=tmp_path)
    assert "1 left out: an area of zero" in page
    assert "2 images cannot be used" in page


class TwoBoxes(tfds.core.GeneratorBasedBuilder):
    """One image with a box and a crowd, as TFDS's coco has them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        box = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_crowd": np.bool_,
        }
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "objects": tfds.features.Sequence(box),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield (
            0,
            {
                "image": np.full((40, 60, 3), 90, "uint8"),
                "objects": [
                    {
                        "bbox": tfds.features.BBox(5 / 40, 1 / 6, 0.5, 0.5),
                        "label": "dog",
                        "is_crowd": crowd,
                    }
                    for crowd in (False, True)
                ],
            },
        )


class OneBroken(TwoBoxes):
    """The same image after one that cannot be read."""

    def _generate_examples(self):
        ((_, example),) = super()._generate_examples()
        yield 0, {**example, "image": io.BytesIO(b"no image")}
        yield 1, example


def test_an_image_of_tfds_that_cannot_be_read_is_a_problem(tmp_path):
    source = open_source("one_broken", ["train"], tmp_path)
    assert source.size("train") == 1 and source.annotations["train"] == 4
    (problem,) = source.problems["train"]
    assert problem.reason.startswith("no image that can be read")


def test_tfds_s_boxes_are_read_by_name(tmp_path):
    source = open_source("two_boxes", ["train"], tmp_path)
    (item,) = source.items["train"]
    assert item.size == (40, 60) and not source.has_masks
    np.testing.assert_allclose(item.boxes, [[10, 5, 30, 20]] * 2, atol=1e-4)
    assert [source.names[k] for k in item.classes] == ["dog", "dog"]
    assert item.is_crowd.tolist() == [False, True]
    with Image.open(item.path) as image:
        assert image.size == (60, 40)
    with pytest.raises(ValueError, match="or a name that TFDS knows"):
        open_source("no_such_boxes", ["train"], tmp_path)
