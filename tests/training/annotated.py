"""Small folders of annotated images, as annotation tools write them."""

import json

import numpy as np
from PIL import Image

SQUARE = [10, 5, 30, 5, 30, 20, 10, 20]
"""A polygon in an image of 40 x 60."""


def picture(path, height=40, width=60):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    Image.fromarray(pixels.astype("uint8")).save(path)


def coco(folder, annotations, split="train", images=None, name=None):
    """Writes a split of COCO's: by default one image of 40 x 60."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    images = images or [
        {"id": 7, "file_name": "a.jpg", "height": 40, "width": 60}
    ]
    for image in images:
        picture(folder / split / image["file_name"])
    content = {
        "images": images,
        "annotations": [
            {
                "id": k,
                "image_id": 7,
                "category_id": 3,
                "bbox": [10, 5, 20, 15],
                "area": 300,
                "iscrowd": 0,
                "segmentation": [SQUARE],
                **annotation,
            }
            for k, annotation in enumerate(annotations, 1)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    path = folder / "annotations" / (name or f"instances_{split}2017.json")
    path.write_text(json.dumps(content))


def squares_mask():
    mask = np.zeros((40, 60), "uint8")
    mask[5:20, 10:30] = 1
    return mask


def voc(folder, with_masks):
    picture(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(
        "<annotation><size><width>60</width><height>40</height></size>"
        "<object><name>dog</name><bndbox><xmin>11</xmin><ymin>6</ymin>"
        "<xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>"
    )
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    if with_masks:
        (folder / "SegmentationObject").mkdir()
        numbers = Image.fromarray(squares_mask())
        numbers.save(folder / "SegmentationObject" / "a.png")


def yolo(folder, line):
    picture(folder / "images" / "train" / "a.jpg")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(line)
    (folder / "data.yaml").write_text("names: {0: cat, 1: dog}")


def yolo_polygon():
    shares = (np.reshape(SQUARE, (-1, 2)) / [60, 40]).ravel()
    return "1 " + " ".join(f"{share:.9f}" for share in shares)
