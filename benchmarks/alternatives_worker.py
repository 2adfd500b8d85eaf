"""Tries one GC ViT library for TensorFlow, for benchmarks/alternatives.py.

python alternatives_worker.py PACKAGE

Prints `RESULTS` and, as JSON, "yes" or why not by check.
"""

import json
import sys
import tempfile
import warnings

import numpy as np

# Each makes the function that builds a library's smallest model.


def ours():
    """Imports this library."""
    from gcvit_keras import GCViTXXTiny

    return lambda shape: GCViTXXTiny(weights=None, input_shape=shape)


def gcvit():
    """Imports gcvit."""
    import gcvit

    return lambda shape: gcvit.GCViTXXTiny(input_shape=shape, pretrain=False)


def kecam():
    """Imports keras-cv-attention-models."""
    from keras_cv_attention_models.gcvit import GCViT_XXTiny

    return lambda shape: GCViT_XXTiny(input_shape=shape, pretrained=None)


def gcvit_tensorflow():
    """Imports gcvit-tensorflow."""
    from gcvit_tensorflow import GCViTXXTiny

    return lambda shape: GCViTXXTiny(input_shape=shape)


def tfgcvit():
    """Imports tfgcvit."""
    from tfgcvit import GCViTNano

    return lambda shape: GCViTNano(input_shape=shape, weights=None)


IMPORTS = {
    "gcvit-keras": ours,
    "gcvit": gcvit,
    "keras-cv-attention-models": kecam,
    "gcvit-tensorflow": gcvit_tensorflow,
    "tfgcvit": tfgcvit,
}


def images(*shape):
    """Random pixels."""
    return 255 * np.random.default_rng(0).random(shape, "float32")


# Each check is called with the function that builds and a model of 224 x 224.


def batch_does_not_matter(build, model):
    """Checks images alone and together."""
    x = images(3, 224, 224, 3)
    together = np.asarray(model(x))
    alone = np.concatenate([np.asarray(model(i[None])) for i in x])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def round_trip(build, model):
    """Checks a saved and loaded model."""
    import keras

    x = images(1, 224, 224, 3)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder + "/model.keras")
        loaded = keras.models.load_model(folder + "/model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def odd_size(build, model):
    """Checks a size that windows do not divide."""
    build((123, 123, 3))(images(1, 123, 123, 3))


def any_size(build, model):
    """Checks one model on two sizes."""
    dynamic = build((None, None, 3))
    for size in (224, 160):
        dynamic(images(1, size, size, 3))


def cloned(build, model):
    """Checks a clone."""
    import keras

    keras.models.clone_model(model)(images(1, 224, 224, 3))


def quantized(build, model):
    """Checks Keras's own int8."""
    warnings.simplefilter("ignore")
    model.quantize("int8")
    model(images(1, 224, 224, 3))


CHECKS = {
    "an image's scores do not depend on its batch": batch_does_not_matter,
    "`.keras` round trip is exact": round_trip,
    "123 x 123": odd_size,
    "height and width None": any_size,
    "`clone_model`": cloned,
    '`quantize("int8")`': quantized,
}


def main():
    """Prints the results."""
    results, build, model = {}, None, None

    def check(name, function, *arguments):
        try:
            function(*arguments)
            results[name] = "yes"
        except BaseException as error:
            text = str(error).strip().splitlines() or [""]
            results[name] = f"no: {type(error).__name__}: {text[0]}"

    def imports():
        nonlocal build
        build = IMPORTS[sys.argv[1]]()

    def first():
        nonlocal model
        model = build((224, 224, 3))
        scores = np.asarray(model(images(2, 224, 224, 3)))
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-4)

    check("imports", imports)
    if build:
        check("224 x 224", first)
        for name, function in CHECKS.items():
            check(name, function, build, model)
    print("RESULTS" + json.dumps(results))


if __name__ == "__main__":
    main()
