"""What GC ViT libraries for TensorFlow do in this environment.

    python benchmarks/alternatives.py

Installs each peer without its dependencies into a folder of its own, tries
the smallest variant in a process of its own, random weights, and prints a
Markdown table. A check fails when it raises or computes something else.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile

from contenders import install

MATPLOTLIB = (
    "matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil"
)
# Package and version, what it needs beside TensorFlow and Keras, and how to
# build its smallest model.
CONTENDERS = (
    (
        "gcvit-keras",
        None,
        "",
        "from gcvit_keras import GCViTXXTiny\n"
        "def build(shape):\n"
        "    return GCViTXXTiny(weights=None, input_shape=shape)",
    ),
    (
        "gcvit",
        "1.1.6",
        MATPLOTLIB,
        "import gcvit\n"
        "def build(shape):\n"
        "    return gcvit.GCViTXXTiny(input_shape=shape, pretrain=False)",
    ),
    (
        "keras-cv-attention-models",
        "1.4.3",
        "",
        "from keras_cv_attention_models.gcvit import GCViT_XXTiny\n"
        "def build(shape):\n"
        "    return GCViT_XXTiny(input_shape=shape, pretrained=None)",
    ),
    (
        "gcvit-tensorflow",
        "1.2.1",
        "tensorflow-addons==0.23.0 typeguard==2.13.3",
        "from gcvit_tensorflow import GCViTXXTiny\n"
        "def build(shape):\n"
        "    return GCViTXXTiny(input_shape=shape)",
    ),
    (
        "tfgcvit",
        "2.0.4",
        "",
        "from tfgcvit import GCViTNano\n"
        "def build(shape):\n"
        "    return GCViTNano(input_shape=shape, weights=None)",
    ),
)

PROBE = """
import json, os, sys, tempfile
import numpy as np
results = {}
def check(name):
    def run(function):
        try:
            function()
            results[name] = "yes"
        except BaseException as error:
            text = str(error).strip().splitlines() or [""]
            results[name] = f"no: {type(error).__name__}: {text[0]}"
    return run
def images(*shape):
    return 255 * np.random.default_rng(0).random(shape, "float32")
@check("imports")
def _():
    exec(sys.argv[1], globals())
if results["imports"] == "yes":
    import keras
    @check("224 x 224")
    def _():
        global model
        model = build((224, 224, 3))
        scores = np.asarray(model(images(2, 224, 224, 3)))
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-4)
    @check("an image's scores do not depend on its batch")
    def _():
        x = images(3, 224, 224, 3)
        together = np.asarray(model(x))
        alone = np.concatenate([np.asarray(model(i[None])) for i in x])
        np.testing.assert_allclose(alone, together, atol=1e-5)
    @check("`.keras` round trip is exact")
    def _():
        x = images(1, 224, 224, 3)
        with tempfile.TemporaryDirectory() as folder:
            model.save(folder + "/model.keras")
            loaded = keras.models.load_model(folder + "/model.keras")
        np.testing.assert_array_equal(loaded(x), model(x))
    @check("123 x 123")
    def _():
        build((123, 123, 3))(images(1, 123, 123, 3))
    @check("height and width None")
    def _():
        dynamic = build((None, None, 3))
        for size in (224, 160):
            dynamic(images(1, size, size, 3))
    @check("`clone_model`")
    def _():
        keras.models.clone_model(model)(images(1, 224, 224, 3))
    @check("`quantize(\\"int8\\")`")
    def _():
        import warnings
        warnings.simplefilter("ignore")
        model.quantize("int8")
        model(images(1, 224, 224, 3))
print("RESULTS" + json.dumps(results))
"""


def probe(package, version, needs, build):
    """Results of one contender, check by check."""
    with tempfile.TemporaryDirectory() as folder:
        if version:
            install(folder, f"{package}=={version}", *needs.split())
        process = subprocess.run(
            [sys.executable, "-c", PROBE, build],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": folder,
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
        )
    for line in process.stdout.splitlines():
        if line.startswith("RESULTS"):
            return json.loads(line.removeprefix("RESULTS"))
    raise RuntimeError(f"{package}: {process.stderr[-500:]}")


def main():
    """Prints the table, and under it why each check failed."""
    found = {}
    for package, version, needs, build in CONTENDERS:
        title = f"{package} {version}" if version else package
        found[title] = probe(package, version, needs, build)
    checks = next(iter(found.values()))
    print(f"| | {' | '.join(found)} |")
    print("|---" * (len(found) + 1) + "|")
    for check in checks:
        cells = [r.get(check, "-").split(":")[0] for r in found.values()]
        print(f"| {check} | {' | '.join(cells)} |")
    print()
    for title, results in found.items():
        for check, result in results.items():
            if result != "yes":
                print(f"{title}, {check}: {result[4:160]}")
    versions = ", ".join(
        f"{p} {importlib.metadata.version(p)}" for p in ("keras", "tensorflow")
    )
    print(f"\nPython {platform.python_version()}, {versions}")


if __name__ == "__main__":
    main()
