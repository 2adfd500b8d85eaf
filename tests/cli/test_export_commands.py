"""`gcvit export` and `gcvit verify`."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from command import inside, refused
from PIL import Image

import gcvit_keras


def two_classes(seed):
    """A model of one layer: what is exported is not the point."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((32, 32, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(2, "softmax")(x))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two classes, its labels, and photos of them."""
    folder = tmp_path_factory.mktemp("export")
    two_classes(seed=1).save(folder / "pets.keras")
    (folder / "labels.txt").write_text("cat\ndog\n")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        photos = folder / "photos" / "test" / name
        photos.mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 256, (40, 50, 3), "uint8")
            Image.fromarray(pixels).save(photos / f"{i}.png")
    return folder


def test_a_saved_model_is_exported_and_verified(folder, tmp_path):
    code, output, errors = inside(
        *("export", folder / "pets.keras", "--format", "savedmodel"),
        *("--out", "pets", "--crop-ratio", 0.8, "--json"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    found = json.loads(output)
    assert found["artifact"] == "pets/1" and found["kind"] == "savedmodel"
    assert (tmp_path / "pets/1/assets/labels.txt").read_text() == "cat\ndog\n"
    assert gcvit_keras.ImageReader.of(tmp_path / "pets").crop_ratio == 0.8
    # `gcvit predict` knows its labels.
    image = folder / "photos" / "test" / "cat" / "0.png"
    _, output, _ = inside("predict", image, "--model", "pets", cwd=tmp_path)
    assert " cat" in output and " dog" in output


def test_an_artifact_is_verified_and_that_of_another_model_refused(
    folder, tmp_path
):
    two_classes(seed=2).save(tmp_path / "other.keras")
    inside(
        *("export", folder / "pets.keras", "--format", "litert"),
        *("--out", "pets.tflite"),
        cwd=tmp_path,
    )
    code, output, _ = inside(
        *("verify", "pets.tflite", "--against", folder / "pets.keras"),
        *("--data", folder / "photos"),
        cwd=tmp_path,
    )
    assert code == 0 and "images compared" in output and " 8 " in output
    line = refused(
        "verify", "pets.tflite", "--against", "other.keras", cwd=tmp_path
    )
    assert "pets.tflite differs from the model by" in line


@pytest.mark.parametrize(
    "options, words",
    [
        (["--format", "onnx", "--quantize", "int8"], "--quantize does not go"),
        (["--format", "onnx", "--name", "x"], "--name does not go"),
        (["--format", "litert", "--dynamic-size"], "--dynamic-size does not"),
        (["--format", "litert", "--crop-ratio", "1"], "--crop-ratio does not"),
        (["--format", "litert", "--quantize", "int8"], "int8 needs --data"),
        (["--format", "serving", "--input-dtype", "uint8"], "--input-dtype"),
        (["--format", "onnx", "--data", ""], "--data is empty"),
        (["--format", "litert", "--image-size", "64"], "--image-size does not"),
        (
            ["--format", "onnx", "--default-signature", "serve_bytes"],
            "--default-signature does not go",
        ),
        (["--format", "onnx", "--split", "test"], "--split goes with --data"),
        (["--format", "onnx", "--data-dir", "x"], "--data-dir goes with"),
        (
            ["--format", "onnx", "--data", "x", "--calibration-split", "train"],
            "--calibration-split goes with --quantize int8 only",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options, words):
    arguments = ("export", "missing.keras", "--out", "x", *options)
    assert words in refused(*arguments, cwd=tmp_path, code=2)


def test_what_cannot_be_read_or_written_is_one_line(folder, tmp_path):
    model = folder / "pets.keras"
    run = ("export", "missing.keras", "--format", "onnx", "--out", "x.onnx")
    assert "missing.keras: no such model" in refused(*run, cwd=tmp_path)
    (tmp_path / "text.keras").write_text("no model")
    run = ("export", "text.keras", "--format", "onnx", "--out", "x.onnx")
    assert "text.keras cannot be opened" in refused(*run, cwd=tmp_path)
    run = ("export", "x.tflite", "--format", "onnx", "--out", "x.onnx")
    (tmp_path / "x.tflite").write_text("no model")
    assert "x.tflite is no .keras file" in refused(*run, cwd=tmp_path)
    (tmp_path / "file").write_text("in the way")
    run = ("export", model, "--format", "serving", "--out", "file/x")
    assert "--out cannot be written: file/x" in refused(*run, cwd=tmp_path)
    run = ("export", model, "--format", "litert", "--out", "x.bin")
    assert "ends in .tflite" in refused(*run, cwd=tmp_path)
    (tmp_path / "empty").mkdir()
    run = ("export", model, "--format", "litert", "--out", "y.tflite")
    line = refused(*run, "--data", "empty", cwd=tmp_path)
    assert "empty" in line
    line = refused(
        *run, "--data", folder / "photos", "--split", "none", cwd=tmp_path
    )
    assert "--split" in line
    assert not (tmp_path / "y.tflite").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    line = refused("verify", "x", "--against", "run", cwd=tmp_path)
    assert "run is a run that has not ended" in line


@pytest.mark.parametrize(
    "how",
    [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
)
def test_an_export_that_is_stopped_leaves_nothing(folder, tmp_path, how):
    process = start_export(folder, tmp_path)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + how, b"")
    assert not list(tmp_path.iterdir())


def start_export(folder, out, *before):
    """An export that has written weights, but has not ended."""
    command = [*before, Path(sys.executable).with_name("gcvit"), "export"]
    command += [folder / "pets.keras", "--format", "savedmodel"]
    process = subprocess.Popen(
        [*command, "--out", out / "models" / "pets"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests themselves are run by nohup it would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("models/pets/.writing-*/variables/*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.slow
def test_nohup_keeps_a_command_running(folder, tmp_path):
    process = start_export(folder, tmp_path, "nohup")
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and b"Wrote" in output
    assert (tmp_path / "models" / "pets" / "1").is_dir()
