"""Draws docs/images/explain.png: what a network sees in two photographs.

    python docs/draw_explain.py

Trains a small GC ViT to tell parts of the two photographs that scikit-learn
ships apart, on their left halves, and shows its maps of the right halves. And
docs/images/explain_page.png, the page of `gcvit explain` in chromium, where
that is installed.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

OUT = Path(__file__).parent / "images" / "explain.png"
PAGE = OUT.with_name("explain_page.png")
SIDE = 128
PARTS = 120
"""Of each photograph, to train on."""
SETTINGS = [
    f"data.image_size={SIDE}",
    "data.batch_size=16",
    "epochs=6",
    "model.window_size=[4, 4, 8, 4]",
    "optimizer.warmup_epochs=1",
]


def main():
    """Writes the picture."""
    from gcvit_keras.explain import attention_maps, grad_cam, plot_comparison
    from gcvit_training import read_config, train

    photos = dict(
        zip(("china", "flower"), load_sample_images().images, strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        write_parts(photos, Path(folder, "parts"))
        config = read_config(
            "digits", [f"data.dataset={folder}/parts", *SETTINGS]
        )
        model = train(config, Path(folder, "run"))
    images = np.stack([right_half(photo) for photo in photos.values()])
    scores = np.asarray(model(images))
    for name, score in zip(photos, scores, strict=True):
        print(f"{name}: {score.round(3)}")
    (attention,) = attention_maps(model, images, level=1, block=1)
    figure = plot_comparison(
        images,
        grad_cam(model, images),
        attention.mean_map().mean(1),
        names=("Grad-CAM", "global attention, level 1"),
    )
    figure.savefig(OUT, dpi=90)
    print(f"Wrote {OUT}")
    draw_page(model, images[1].astype("uint8"), list(photos))


def draw_page(model, pixels, names):
    """Takes a picture of the page of an image."""
    from gcvit_cli.explain_classes import page_of

    browser = shutil.which("chromium")
    if browser is None:
        print(f"Without chromium: {PAGE} is as it was")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        text = page_of(model, pixels, names, "flower.jpg", "run/model.keras")
        page.write_text(text, encoding="utf-8")
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--hide-scrollbars"),
                *("--window-size=1000,1450", f"--screenshot={PAGE}"),
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    print(f"Wrote {PAGE}")


def write_parts(photos, folder):
    """Squares of the left halves, as class folders."""
    rng = np.random.default_rng(0)
    for name, photo in photos.items():
        height, width = photo.shape[0], photo.shape[1] // 2
        for i in range(PARTS):
            side = rng.integers(100, width)
            top = rng.integers(0, height - side + 1)
            left = rng.integers(0, width - side + 1)
            part = photo[top : top + side, left : left + side]
            split = "test" if i % 10 == 0 else "train"
            path = folder / split / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part).resize((SIDE, SIDE)).save(path)


def right_half(photo):
    """The largest square of the right half, as the network takes it."""
    side = photo.shape[1] // 2
    top = (photo.shape[0] - side) // 2
    part = Image.fromarray(photo[top : top + side, side : 2 * side])
    return np.asarray(part.resize((SIDE, SIDE)), "float32")


if __name__ == "__main__":
    main()
