"""Whether class activation maps show what a trained network looks at.

    python benchmarks/faithfulness.py QUICKSTART

QUICKSTART is the folder of `gcvit quickstart`. Prints as a Markdown table,
over images that were held out and for layers of the trained network:

- Deletion and insertion (Petsiuk et al., arXiv 1806.07421): the mean of the
  predicted class's probability while the pixels that a map ranks highest are
  replaced by the image's mean colour, or put into the blurred image. A map
  that is right has a low deletion and a high insertion; beside it is the mean
  of random maps of the same coarseness, and how much insertion less deletion
  gains over them, with its standard error.
- Model randomisation (Adebayo et al., arXiv 1810.03292): rank correlation of
  the maps with those of the same network with random weights, which should be
  about 0, and with those of the trained network for the image with noise of 2
  grey levels, which should be high.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from contenders import machine
from scipy.ndimage import gaussian_filter

from gcvit_keras.explain import grad_cam
from gcvit_keras.explain.cam import METHODS, enlarged
from gcvit_training import read_config
from gcvit_training.tasks.classification import evaluation_batches
from gcvit_training.tasks.classification.sources import Sample, open_source

LAYERS = ("stem", "level_0_block_1", "level_1_block_1", "level_2_block_1")
STEPS = 16
RANDOM = 3
"""Random maps an image."""
BLUR = 6
"""Standard deviation, in pixels."""


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("quickstart", type=Path, metavar="QUICKSTART")
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--out", help="a JSON file to write")
    arguments = parser.parse_args()
    model = keras.models.load_model(arguments.quickstart / "digits.keras")
    images = held_out(arguments.quickstart, arguments.images)
    facts = machine() | {
        "images": len(images),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    print(f"{', '.join(f'{k} {v}' for k, v in facts.items())}\n")
    print(
        "| layer | map | deletion | of random maps | insertion | of random "
        "maps | gain | its error | with noise | with random weights |"
    )
    print("|---" * 10 + "|")
    results = []
    for layer in LAYERS:
        for method, found in measured(model, images, layer, METHODS).items():
            results.append({"layer": layer, "method": method, **found})
            numbers = " | ".join(f"{value:.3f}" for value in found.values())
            print(f"| {layer} | {method} | {numbers} |", flush=True)
    if arguments.out:
        text = json.dumps({"machine": facts, "results": results}, indent=1)
        Path(arguments.out).write_text(text + "\n")


def held_out(quickstart, count):
    """Images of the quickstart's digits that it was not trained on."""
    data = read_config(quickstart / "run" / "config.yaml").data
    source = Sample(open_source(data.dataset, quickstart / "data"), count)
    batches = evaluation_batches(source, data.evaluation_split, data, 64)
    return np.concatenate([x for x, *_ in batches.as_numpy_iterator()])


def measured(model, images, layer, methods):
    """What is printed of a layer, for each method."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    random_model = keras.models.clone_model(model)  # with weights of its own
    classes = np.asarray(model(images)).argmax(-1)
    noisy = np.clip(images + rng.integers(-2, 3, images.shape), 0, 255)
    coarse = model.get_layer(layer).output.shape[1:3]
    compute = tf.function(lambda images: model(images, training=False))
    chance = np.mean(
        [
            curves(compute, images, classes, random_maps(rng, images, coarse))
            for _ in range(RANDOM)
        ],
        axis=0,
    )
    results = {}
    for method in methods:
        maps = grad_cam(model, images, classes, layer, method)
        seen = curves(compute, images, classes, maps)
        gain = (seen[1] - seen[0]) - (chance[1] - chance[0])
        results[method] = {
            "deletion": float(seen[0].mean()),
            "random_deletion": float(chance[0].mean()),
            "insertion": float(seen[1].mean()),
            "random_insertion": float(chance[1].mean()),
            "gain": float(gain.mean()),
            "error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
            "noise": correlation(
                maps, grad_cam(model, noisy, classes, layer, method)
            ),
            "randomised": correlation(
                maps, grad_cam(random_model, images, classes, layer, method)
            ),
        }
    return results


def random_maps(rng, images, coarse):
    """Maps of noise, as coarse as those of a layer."""
    noise = rng.random((len(images), *coarse), "float32")
    return enlarged(noise, images.shape[1:3])


def curves(compute, images, classes, maps):
    """Mean probability under deletion and insertion, for each image."""
    mean = np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)
    blurred = gaussian_filter(images, (0, BLUR, BLUR, 0))
    # Of equal places the first one counts as higher, for any map.
    order = np.argsort(-maps.reshape(len(maps), -1), kind="stable")
    rank = np.argsort(order).reshape(maps.shape)[..., None]
    seen = [], []
    for step in range(STEPS + 1):
        marked = rank < step * rank[0].size / STEPS
        deleted = np.where(marked, mean, images)
        inserted = np.where(marked, images, blurred)
        for kept, chosen in zip(seen, (deleted, inserted), strict=True):
            scores = compute(tf.constant(chosen, tf.float32)).numpy()
            kept.append(scores[np.arange(len(images)), classes])
    return np.mean(seen, axis=1)


def correlation(first, second):
    """Mean rank correlation of maps; of a map without a rank it is 0."""
    found = []
    for pair in zip(first, second, strict=True):
        ranks = [rank(m.ravel()) for m in pair]
        deviations = [r - r.mean() for r in ranks]
        scale = np.prod([np.sqrt((d**2).sum()) for d in deviations])
        found.append((deviations[0] @ deviations[1]) / scale if scale else 0)
    return float(np.mean(found))


def rank(values):
    """Places in order, of equal values their mean."""
    _, places, counts = np.unique(
        values, return_inverse=True, return_counts=True
    )
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[places]


if __name__ == "__main__":
    main()
