"""How far a network learns eight photographs of COCO by heart, from nothing.

    python benchmarks/overfit.py segmentation COCO [--epochs 25]
    python benchmarks/overfit.py detection COCO [--epochs 25]

COCO is a folder with COCO's layout: `annotations`, `train2017`. Its first eight
training images that have objects are trained on, each 16 times in an epoch and
never altered, and measured: by a nano UPerNet mean IoU, by a Mask R-CNN on GC
ViT xxtiny box and mask AP50. Weights are random at first. Prints a line when
it is done, with the minutes of training.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import yaml

from gcvit_training import read_config, train, write_report

IMAGES, COPIES = 8, 16
RECIPES = {
    "segmentation": {
        "data": {
            "batch_size": 8,
            "crop_size": 192,
            "short_side": 144,
            "long_side": 192,
            "largest_side": 192,
        },
        "augment": {
            "scale": [1.0, 1.0],
            "class_share": 1.0,
            **dict.fromkeys(
                ("flip", "brightness", "contrast", "saturation", "hue"), 0.0
            ),
        },
        "optimizer": {
            "learning_rate": 2e-3,
            "schedule": "poly",
            "warmup_steps": 20,
            "weight_decay": 0.0,
        },
        "model": {
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 4, 8],
            "mlp_ratio": 2,
            "window_size": [6, 6, 6, 6],
            "channels": 32,
            "auxiliary_channels": 32,
            "dropout": 0.0,
        },
    },
    "detection": {
        "data": {
            "batch_size": 4,
            "short_side": 240,
            "long_side": 320,
            "buckets": [[256, 320], [320, 256], [320, 320]],
            "max_objects": 16,
        },
        "augment": {"short_sides": [240], "long_side": 320, "flip": 0.0},
        "optimizer": {
            "learning_rate": 5e-4,
            "warmup_steps": 50,
            "weight_decay": 0.0,
        },
        "model": {
            "backbone": "xxtiny",
            "window_size": [10, 10, 10, 10],
            "drop_path_rate": 0.0,
        },
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=RECIPES)
    parser.add_argument("coco", type=Path)
    parser.add_argument("--epochs", type=int, default=25)
    arguments = parser.parse_args()
    if not (arguments.coco / "annotations").is_dir():
        parser.error(f"{arguments.coco} has no folder annotations")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        few_images(arguments.coco.resolve(), folder / "few")
        recipe = {
            "task": arguments.task,
            "seed": 0,
            "epochs": arguments.epochs,
            **RECIPES[arguments.task],
        }
        recipe["data"] |= {
            "dataset": str(folder / "few"),
            "train_split": "train2017",
            "evaluation_split": "val2017",
        }
        (folder / "recipe.yaml").write_text(yaml.dump(recipe))
        config = read_config(folder / "recipe.yaml")
        start = time.monotonic()
        train(config, folder / "run", verbose=2)
        minutes = (time.monotonic() - start) / 60
        result = write_report(config, folder / "run")
    if arguments.task == "segmentation":
        found = f"mIoU {result['miou']:.3f}"
    else:
        found = ", ".join(
            f"{kind} AP50 {result[kind]['ap50']:.3f}"
            for kind in ("box", "mask")
        )
    steps = arguments.epochs * IMAGES * COPIES // recipe["data"]["batch_size"]
    print(
        f"{arguments.task}: {found} after {steps} steps, {minutes:.1f} minutes"
    )


def few_images(coco, folder):
    """Writes a dataset: many links to the first images as `train2017`."""
    source = coco / "annotations"
    told = json.loads((source / "instances_train2017.json").read_text())
    seen = {a["image_id"] for a in told["annotations"]}
    images = [i for i in told["images"] if i["id"] in seen][:IMAGES]
    chosen = [
        a
        for a in told["annotations"]
        if a["image_id"] in {i["id"] for i in images}
    ]
    annotations = folder / "annotations"
    for split, copies in (("train2017", COPIES), ("val2017", 1)):
        (folder / split).mkdir(parents=True)
        maps = annotations / f"semantic_{split}"
        maps.mkdir(parents=True)
        written = {**told, "images": [], "annotations": []}
        for copy in range(copies):
            for image in images:
                name = Path(image["file_name"])
                new = f"{copy:02d}_{name.name}"
                (folder / split / new).symlink_to(coco / "train2017" / name)
                semantic = source / "semantic_train2017" / f"{name.stem}.png"
                if semantic.is_file():
                    (maps / new).with_suffix(".png").symlink_to(semantic)
                place = 10**6 * copy
                written["images"].append(
                    {**image, "file_name": new, "id": place + image["id"]}
                )
            for a in chosen:
                written["annotations"].append(
                    {
                        **a,
                        "image_id": place + a["image_id"],
                        "id": len(written["annotations"]) + 1,
                    }
                )
        (annotations / f"instances_{split}.json").write_text(
            json.dumps(written)
        )
    classes = source / "semantic_classes.json"
    if classes.is_file():
        (annotations / classes.name).write_text(classes.read_text())


if __name__ == "__main__":
    sys.exit(main())
