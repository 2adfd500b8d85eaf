"""What Keras's backend computes; run as a program, in a process of its own.

`program.py FOLDER` uses the models in FOLDER/models and writes the results as
FOLDER/BACKEND.npz; on TensorFlow it makes the models first.
"""

import os
import sys
from pathlib import Path

import keras
import numpy as np

import gcvit_keras
from gcvit_keras import GCViT, GCViTBackbone, explain
from gcvit_keras.detection import MaskRCNN

BACKEND = keras.backend.backend()
REFERENCE = Path(__file__).parents[1] / "data" / "reference"
NANO = {
    "embed_dim": 16,
    "depths": (2, 2, 2, 2),
    "num_heads": (1, 2, 4, 8),
    "mlp_ratio": 3,
    "classes": 10,
}
TINY = {**NANO, "embed_dim": 8, "input_shape": (64, 64, 3)}
LEVELS = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}


def pixels(*shape, seed=0):
    return 255 * np.random.default_rng(seed).random(shape, "float32")


def reference_logits():
    """Of timm's weights, as in tests/models/test_parity.py."""
    model = GCViT(
        **NANO,
        weights=REFERENCE / "timm_nano.safetensors",
        se_divisor=8,
        include_preprocessing=False,
        classifier_activation=None,
    )
    image = np.load(REFERENCE / "official_nano_io.npz")["image"]
    return model.predict(image, verbose=0)


def make(folder):
    """The models that all backends load, with weights that are felt."""
    keras.utils.set_random_seed(0)
    classifier = GCViT(**TINY)
    backbone = GCViTBackbone(**LEVELS, mlp_ratio=1, level_norms=True)
    detector = MaskRCNN(backbone, 3, fpn_channels=8, fc_channels=8)
    for variable in classifier.weights:
        if "normalization" not in variable.path and variable.trainable:
            noise = np.random.default_rng(1).normal(0, 0.1, variable.shape)
            variable.assign(np.asarray(variable) + noise)
    classifier.save(folder / "tensorflow.keras")
    detector.save(folder / "detector.keras")


def trained(classifier):
    """Losses of three steps of `fit` by plain gradient descent."""
    classifier.compile(
        keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy"
    )
    losses = []
    for _ in range(3):
        history = classifier.fit(
            pixels(4, 64, 64, 3), np.arange(4), batch_size=4, verbose=0
        )
        losses.append(history.history["loss"][0])
    return losses


def main(folder):
    quiet = "tensorflow" not in sys.modules
    models = folder / "models"
    if BACKEND == "tensorflow":
        models.mkdir()
        make(models)
    classifier = keras.models.load_model(models / "tensorflow.keras")
    images = pixels(2, 64, 64, 3)
    results = {
        "tensorflow_not_imported": quiet,
        "reference": reference_logits(),
        "scores": classifier.predict(images, verbose=0),
    }
    pyramid = gcvit_keras.feature_pyramid(classifier).predict(images, verbose=0)
    results |= pyramid
    for method in ("gradcam", "gradcam++", "layercam"):
        results[method] = explain.grad_cam(
            classifier, images, 4, "level_2_block_1", method
        )
    (block,) = explain.attention_maps(classifier, images, level=2, block=1)
    results["attention"] = block.weights
    detector = keras.models.load_model(models / "detector.keras")
    results |= {
        f"detector_{name}": np.asarray(value)
        for name, value in detector.predict(
            pixels(1, 64, 96, 3), verbose=0
        ).items()
    }
    # And back: what this backend saves, TensorFlow loads.
    classifier.save(models / f"{BACKEND}.keras")
    classifier.save_weights(models / f"{BACKEND}.weights.h5")
    if BACKEND != "tensorflow":
        from gcvit_export import export_saved_model

        try:
            export_saved_model(classifier, folder / "saved")
        except ValueError as error:
            results["refusal"] = str(error)
    results["losses"] = trained(classifier)
    if BACKEND == "jax":
        results["parallel"] = parallel(models)
    np.savez(folder / f"{BACKEND}.npz", **results)


def parallel(models):
    """Losses with the batch split over two devices."""
    import jax

    devices = jax.devices()
    assert len(devices) == 2, os.environ.get("XLA_FLAGS")
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices)
    )
    return trained(keras.models.load_model(models / "tensorflow.keras"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
