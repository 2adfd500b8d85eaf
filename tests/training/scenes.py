"""Shapes pasted on photographs, each of its own colour, with label maps.

The photographs are scikit-image's.
"""

import numpy as np
import skimage
from PIL import Image

NAMES = ("background", "disc", "square", "ring")
COLOURS = ((230, 60, 50), (50, 200, 80), (60, 80, 230))
"""Of the shapes, from which each one differs a little."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def write(folder, counts, side=64, seed=0):
    """Writes `images/SPLIT`, `labels/SPLIT` and `labels.txt`.

    Args:
        folder: `pathlib.Path` of the dataset.
        counts: Dict of split to number of images.
        side: Of the images, in pixels.
        seed: Of everything that is random.
    """
    random = np.random.default_rng(seed)
    photographs = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    for split, count in counts.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image, labels = _scene(photographs, side, random)
            name = f"{number:04d}"
            Image.fromarray(image).save(
                folder / "images" / split / f"{name}.jpg", quality=92
            )
            Image.fromarray(labels).save(
                folder / "labels" / split / f"{name}.png"
            )
    (folder / "labels.txt").write_text("".join(f"{n}\n" for n in NAMES))


def _scene(photographs, side, random):
    """An image and its label map."""
    photograph = photographs[random.integers(len(photographs))]
    size = np.array(photograph.shape[:2])
    part = 2 * side
    top, left = (int(random.integers(s - part)) for s in size)
    image = photograph[top : top + part, left : left + part]
    image = Image.fromarray(np.ascontiguousarray(image))
    image = np.array(image.resize((side, side), Image.Resampling.BOX))
    labels = np.zeros((side, side), "uint8")
    rows, columns = np.mgrid[:side, :side]
    for _ in range(random.integers(1, 4)):
        label = int(random.integers(1, len(NAMES)))
        radius = random.uniform(0.14, 0.25) * side
        y, x = random.uniform(radius, side - radius, 2)
        distance = np.hypot(rows - y, columns - x)
        inside = distance < radius
        if NAMES[label] == "square":
            inside = np.maximum(abs(rows - y), abs(columns - x)) < radius * 0.9
        elif NAMES[label] == "ring":
            inside &= distance > 0.55 * radius
        colour = COLOURS[label - 1] + random.normal(0, 15, 3)
        noise = random.normal(0, 12, image.shape)
        image[inside] = np.clip(colour + noise[inside], 0, 255)
        labels[inside] = label
    return image, labels
