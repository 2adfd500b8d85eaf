"""The README's Python runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from conftest import pytorch_tensors
from PIL import Image
from safetensors.numpy import save_file

import gcvit_keras

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_example_fine_tunes_and_exports(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (50, 40, 3), "uint8")
            Image.fromarray(pixels).save(folder / f"{i}.png")
    model = gcvit_keras.GCViTXXTiny(weights=None)
    save_file(pytorch_tensors(model, "timm"), tmp_path / "xxtiny.safetensors")
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    served = tf.saved_model.load(str(tmp_path / "served" / "photos" / "1"))
    (scores,) = served.signatures["serving_default"](
        images=tf.zeros((1, 224, 224, 3))
    ).values()
    assert scores.shape == (1, 2)
    assert (tmp_path / "photos.tflite").stat().st_size > 40e6


def test_the_table_lists_what_the_benchmark_compares():
    source = (
        Path(__file__).parent.parent / "benchmarks" / "alternatives.py"
    ).read_text()
    peers = re.findall(r'"([a-z-]+)",\n\s+"(\d+\.\d+\.\d+)"', source)
    assert len(peers) == 4
    for package, version in peers:
        assert f"| {package} {version} " in README
