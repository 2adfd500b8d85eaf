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
from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN
from gcvit_keras.detection.sample import choose_first
from gcvit_keras.segmentation import UPerNet

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
    widths = {"fpn_channels": 8, "fc_channels": 8}
    detector = MaskRCNN(backbone, 3, **widths)
    cascade = CascadeMaskRCNN(backbone, 3, **widths)
    segmenter = UPerNet(
        backbone, 3, channels=8, auxiliary_channels=8, dropout=0.0
    )
    for variable in classifier.weights:
        if "normalization" not in variable.path and variable.trainable:
            noise = np.random.default_rng(1).normal(0, 0.1, variable.shape)
            variable.assign(np.asarray(variable) + noise)
    classifier.save(folder / "tensorflow.keras")
    detector.save(folder / "detector.keras")
    cascade.save(folder / "cascade.keras")
    segmenter.save(folder / "segmenter.keras")


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


def rows(x):
    """An activity regulariser: 1 per output, as Keras divides by the rows."""
    return keras.ops.cast(keras.ops.shape(x)[0], "float32")


def detection(models):
    """Detections, losses, and whether a step of `fit` changes all heads."""
    detector = keras.models.load_model(models / "detector.keras")
    images = pixels(1, 64, 96, 3)
    results = {
        f"detector_{name}": np.asarray(value)
        for name, value in detector.predict(images, verbose=0).items()
    }
    masks = np.zeros((1, 2, 64, 96), "uint8")
    masks[0, 0, 4:40, 8:60] = masks[0, 1, 30:60, 40:90] = 1
    targets = {
        "boxes": np.float32([[[8, 4, 60, 40], [40, 30, 90, 60]]]),
        "classes": np.int32([[0, 2]]),
        "masks": masks,
    }
    cascade = keras.models.load_model(models / "cascade.keras")
    for name, model in (("detector", detector), ("cascade", cascade)):
        losses = model.losses(images, targets, choose=choose_first)
        results[f"{name}_losses"] = np.array(
            [float(keras.ops.mean(losses[key])) for key in sorted(losses)]
        )
        model.compile(keras.optimizers.SGD(0.01))
        # One layer within the features, one that looks at the regions.
        for layer in (model.rpn_head, model.box_heads[-1]):
            layer.activity_regularizer = rows
        before = model.get_layer("rpn_head").get_weights()
        history = model.fit(images, targets, verbose=0).history
        total = history.pop("loss")[0]
        results[f"{name}_layer_losses"] = total - sum(
            value for (value,) in history.values()
        )
        for old, new in zip(
            before, model.get_layer("rpn_head").get_weights(), strict=True
        ):
            assert not np.array_equal(old, new)
    results["detector_jit"] = detector.jit_compile
    return results


def segmentation(models):
    """Scores, losses of training, and what `segment` says."""
    segmenter = keras.models.load_model(models / "segmenter.keras")
    images = pixels(2, 64, 96, 3)
    labels = np.random.default_rng(0).integers(0, 3, (2, 64, 96))
    results = {"segmenter_scores": segmenter.predict(images, verbose=0)}
    segmenter.compile(keras.optimizers.SGD(0.01))
    history = segmenter.fit(images, labels, epochs=2, verbose=0).history
    results["segmenter_losses"] = history["loss"]
    try:
        segmenter.segment(list(images))
    except ValueError as error:
        results["segment_refusal"] = str(error)
    return results


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
    results |= detection(models) | segmentation(models)
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
