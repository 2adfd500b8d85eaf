"""Photographs with digits pasted on them, and where these are, in COCO's form.

The photographs are scikit-image's, the digits scikit-learn's.
"""

import json

import numpy as np
import skimage
from faster_coco_eval.core import mask as coco_mask
from PIL import Image
from sklearn.datasets import load_digits

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def write(folder, counts, digits=(0, 1, 4), seed=0, sides=(112, 160)):
    """Writes a dataset of composites.

    Args:
        folder: `pathlib.Path` of the dataset, with COCO's layout.
        counts: Dict of split to number of images.
        digits: Digits, each a class.
        seed: Of everything that is random.
        sides: Least and largest side of an image.
    """
    random = np.random.default_rng(seed)
    glyphs = _glyphs(digits)
    photographs = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    (folder / "annotations").mkdir(parents=True)
    for split, count in counts.items():
        (folder / split).mkdir()
        images, annotations = [], []
        for number in range(1, count + 1):
            height, width = (int(s) for s in random.integers(*sides, 2))
            image = _part(photographs, height, width, random)
            masks = []
            for _ in range(random.integers(1, 4)):
                label = int(random.integers(len(digits)))
                mask = _paste(image, glyphs[label], random)
                for other, _ in masks:
                    other &= ~mask  # it is behind
                masks.append((mask, label))
            name = f"{number:04d}.jpg"
            Image.fromarray(image).save(folder / split / name, quality=92)
            images.append(
                {
                    "id": number,
                    "file_name": name,
                    "height": height,
                    "width": width,
                }
            )
            for mask, label in masks:
                if mask.sum() < 40:  # hidden
                    continue
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "iscrowd": 0,
                        **outline(mask),
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": k + 1, "name": str(d)} for k, d in enumerate(digits)
            ],
        }
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))


def outline(mask):
    """`bbox`, `area` and `segmentation` of a mask."""
    rle = coco_mask.encode(np.asfortranarray(mask, "uint8"))
    counts = rle["counts"]
    counts = counts.decode() if isinstance(counts, bytes) else counts
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "area": int(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": counts},
    }


def _glyphs(digits):
    """For each digit its grey levels `(n, 8, 8)`, in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    return [images[labels == digit] for digit in digits]


def _part(photographs, height, width, random):
    """A part of a photograph, made smaller."""
    photograph = photographs[random.integers(len(photographs))]
    scale = min(1.8, *(np.array(photograph.shape[:2]) / [height, width]))
    rows, columns = int(scale * height), int(scale * width)
    top = random.integers(photograph.shape[0] - rows + 1)
    left = random.integers(photograph.shape[1] - columns + 1)
    part = photograph[top : top + rows, left : left + columns]
    part = Image.fromarray(np.ascontiguousarray(part))
    return np.array(part.resize((width, height), Image.Resampling.BOX))


def _paste(image, glyphs, random):
    """Pastes a digit in one colour at any place; returns its mask."""
    side = int(random.integers(40, 72))
    glyph = Image.fromarray(np.float32(glyphs[random.integers(len(glyphs))]))
    shape = np.array(glyph.resize((side, side), Image.Resampling.BICUBIC)) > 0.4
    rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
    shape = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = shape.shape
    top = random.integers(image.shape[0] - height + 1)
    left = random.integers(image.shape[1] - width + 1)
    mask = np.zeros(image.shape[:2], bool)
    mask[top : top + height, left : left + width] = shape
    colour = random.integers(0, 256, 3)
    noise = random.normal(0, 12, (*image.shape[:2], 3))
    image[mask] = np.clip(colour + noise[mask], 0, 255).astype("uint8")
    return mask
