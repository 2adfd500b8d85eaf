"""The models on Keras's other backends, each in a process of its own.

With the same weights JAX and PyTorch have to compute what TensorFlow does,
and what timm did.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nano import REFERENCE

import gcvit_keras  # noqa: F401  registers the layers

PROGRAM = Path(__file__).with_name("program.py")
pytestmark = pytest.mark.slow


def compute(backend, folder):
    process = subprocess.run(
        [sys.executable, PROGRAM, folder],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return dict(np.load(folder / f"{backend}.npz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module")
def expected(folder):
    """What TensorFlow computes."""
    return compute("tensorflow", folder)


@pytest.fixture(scope="module", params=["jax", "torch"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def results(backend, folder, expected):
    return compute(backend, folder)


def test_logits_are_timm_s(results):
    logits = np.load(REFERENCE / "timm_nano_io.npz")["logits"]
    np.testing.assert_allclose(results["reference"], logits, rtol=0, atol=1e-4)


def test_tensorflow_is_not_imported_with_the_library(results):
    assert results["tensorflow_not_imported"]


@pytest.mark.parametrize(
    "name",
    [
        "scores",
        *("P2", "P3", "P4", "P5"),
        *("gradcam", "gradcam++", "layercam", "attention"),
        *("detector_boxes", "detector_scores", "detector_masks"),
        *("detector_losses", "cascade_losses"),
        *("detector_layer_losses", "cascade_layer_losses"),
        *("segmenter_scores", "segmenter_losses"),
    ],
)
def test_the_same_file_computes_the_same(results, expected, name):
    scale = np.abs(expected[name]).max()
    assert scale > 0
    np.testing.assert_allclose(
        results[name], expected[name], rtol=0, atol=1e-4 * scale
    )


def test_fit_learns_the_same(results, expected):
    np.testing.assert_allclose(results["losses"], expected["losses"], rtol=1e-4)
    assert results["losses"][-1] < results["losses"][0]


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_what_another_backend_saves_tensorflow_loads(
    results, backend, folder, suffix
):
    models = folder / "models"
    model = keras.models.load_model(models / "tensorflow.keras")
    kept = model.get_weights()
    if suffix == ".keras":
        model = keras.models.load_model(models / f"{backend}.keras")
    else:
        for variable in model.weights:
            variable.assign(variable * 0)
        model.load_weights(models / f"{backend}.weights.h5")
    for value, other in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(value, other)


def test_export_on_another_backend_refuses_in_one_line(results, backend):
    assert str(results["refusal"]) == (
        "gcvit_export needs Keras's TensorFlow backend: set KERAS_BACKEND="
        f"tensorflow. Received: KERAS_BACKEND={backend}"
    )


def test_segment_on_another_backend_refuses_in_one_line(results, backend):
    assert str(results["segment_refusal"]) == (
        "UPerNet.segment needs Keras's TensorFlow backend: set KERAS_BACKEND="
        f"tensorflow. Received: KERAS_BACKEND={backend}"
    )


def test_detectors_are_compiled_where_that_makes_them_faster(results, backend):
    assert bool(results["detector_jit"]) == (backend == "jax")


@pytest.mark.parametrize("backend", ["jax"], indirect=True)
def test_two_devices_train_as_one(results):
    """By `keras.distribution.DataParallel`, which is JAX's alone."""
    np.testing.assert_allclose(
        results["parallel"], results["losses"], rtol=1e-5
    )
