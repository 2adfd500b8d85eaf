"""Mean overlap that a nano UPerNet learns on composites, and how fast.

    python benchmarks/segmentation.py [--epochs 16]

Trains from random weights, by `gcvit_training.train`, on 256 scenes of shapes
on photographs that are made first, and measures it on 48 others. Prints the
seconds and the report's measures; 0.80 is wanted within ten minutes on two
cores.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "training"))
import scenes  # noqa: E402

from gcvit_training import read_config, train, write_report  # noqa: E402

RECIPE = {
    "task": "segmentation",
    "data": {
        "evaluation_split": "val",
        "batch_size": 16,
        "crop_size": 64,
        "short_side": None,
        "largest_side": 64,
    },
    "augment": {
        "scale": [0.8, 1.25],
        "class_share": 1.0,
        "brightness": 0.1,
        "contrast": 0.2,
        "saturation": 0.2,
    },
    "optimizer": {
        "learning_rate": 4e-3,
        "schedule": "poly",
        "warmup_steps": 20,
        "weight_decay": 0.01,
    },
    "model": {
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
        "mlp_ratio": 2,
        "window_size": [4, 4, 4, 2],
        "channels": 32,
        "auxiliary_channels": 32,
        "dropout": 0.0,
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=16)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        scenes.write(folder / "scenes", {"train": 256, "val": 48})
        recipe = {**RECIPE, "epochs": epochs}
        recipe["data"] = {**recipe["data"], "dataset": str(folder / "scenes")}
        (folder / "recipe.yaml").write_text(yaml.dump(recipe))
        config = read_config(folder / "recipe.yaml")
        begin = time.perf_counter()
        train(config, folder / "run", verbose=0)
        seconds = time.perf_counter() - begin
        result = write_report(config, folder / "run")
    print(f"{epochs} epochs in {seconds:.0f} s: mIoU {result['miou']:.3f}")
    for row in result["per_class"]:
        print(f"  {row['class']}: {row['iou']:.3f}")


if __name__ == "__main__":
    main()
