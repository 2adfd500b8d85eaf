"""The README's Python runs as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from PIL import Image

README = (Path(__file__).parent.parent / "README.md").read_text()


def run(code, cwd, environment):
    """What the code prints in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            **{key: str(value) for key, value in environment.items()},
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


@pytest.mark.slow
def test_the_example_fine_tunes_and_exports(published, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (50, 40, 3), "uint8")
            Image.fromarray(pixels).save(folder / f"{i}.png")
    _, environment = published
    code = code.replace("imagenet", "nvidia")  # what the loopback serves
    run(code, tmp_path, environment)
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
    peers = re.findall(r'"([a-z-]+)",\s+"(\d+\.\d+\.\d+)"', source)
    assert len(peers) == 4
    for package, version in peers:
        assert f"| {package} {version} " in README


def test_the_example_of_pretrained_weights_names_five_classes(
    published, tmp_path
):
    _, environment = published
    page = (Path(__file__).parent.parent / "docs" / "pretrained.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    # What the loopback serves.
    code = code.replace("imagenet", "nvidia").replace("Tiny", "XXTiny")
    shutil.copy(
        Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg",
        tmp_path / "cat.jpg",
    )
    output = run(code, tmp_path, environment)
    assert output.count("('n") == 5
