"""Writes the images here and what timm's evaluation transform makes of them.

pip install torch torchvision timm==1.0.31 scikit-learn pillow && python make.py

The photographs are scikit-image's (chelsea.png, coins.png, rocket.jpg) and
scikit-learn's (china.jpg, flower.jpg, read from the package).
"""

from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image, ImageOps
from timm.data import create_transform

HERE = Path(__file__).parent
SKLEARN = Path(sklearn.datasets.__file__).parent / "images"

PHOTOS = [
    HERE / "chelsea.png",
    HERE / "coins.png",
    HERE / "rocket.jpg",
    SKLEARN / "china.jpg",
    SKLEARN / "flower.jpg",
]
CASES = {
    "center": (112, 0.875, "center", "bicubic"),
    "whole": (112, 1.0, "center", "bilinear"),
    "squash": (112, 1.0, "squash", "bicubic"),
    "squash_crop": (96, 0.9, "squash", "lanczos"),
    "wide": ((80, 144), 0.95, "center", "bicubic"),
}


def expected(image, size, crop_ratio, crop_mode, interpolation):
    """Uint8 array of timm's transform, as it was before normalisation."""
    transform = create_transform(
        size,
        is_training=False,
        crop_pct=crop_ratio,
        crop_mode=crop_mode,
        interpolation=interpolation,
        normalize=False,
    )
    return transform(image.convert("RGB")).numpy().transpose(1, 2, 0)


def formats():
    """The same small photograph in every format, and what it should give."""
    photo = Image.open(SKLEARN / "flower.jpg").resize((150, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photo.transpose(Image.Transpose.ROTATE_90)
    turned.save(HERE / "exif.jpg", quality=95, exif=exif)
    photo.save(HERE / "plain.jpg", quality=95)
    photo.save(HERE / "plain.png")
    photo.save(HERE / "plain.webp", quality=90)
    photo.save(HERE / "plain.bmp")
    photo.convert("L").save(HERE / "grey.png")
    photo.convert("L").save(HERE / "grey.jpg", quality=95)
    photo.quantize(64).save(HERE / "palette.png")
    photo.quantize(64).save(HERE / "palette.gif")
    photo.convert("CMYK").save(HERE / "cmyk.jpg", quality=95)
    alpha = photo.copy()
    alpha.putalpha(128)
    alpha.save(HERE / "alpha.png")
    deep = np.asarray(photo.convert("L")).astype("uint16") * 257
    Image.fromarray(deep).save(HERE / "deep.png")
    for path in sorted(HERE.iterdir()):
        if path.stem in ("exif", "plain", "grey", "palette", "cmyk", "alpha"):
            yield path, ImageOps.exif_transpose(Image.open(path))
    # Pillow's own conversion of 16 bits clips; this is what it should be.
    yield HERE / "deep.png", Image.open(HERE / "grey.png")


def main():
    """Writes expected.npz."""
    arrays = {
        f"{path.name} {name}": expected(Image.open(path), *arguments)
        for path in PHOTOS
        for name, arguments in CASES.items()
    }
    for path, image in formats():
        arrays[f"{path.name} center"] = expected(image, *CASES["center"])
    np.savez_compressed(HERE / "expected.npz", **arrays)


if __name__ == "__main__":
    main()
