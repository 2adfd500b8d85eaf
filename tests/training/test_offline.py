"""A run that cannot download what it starts from."""

import os
import subprocess
import sys

import keras
import numpy as np


def test_a_failed_download_speaks_for_itself_and_leaves_the_folder_free(
    tmp_path,
):
    rng = np.random.default_rng(0)
    for i in range(12):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (40, 40, 3))
        keras.utils.save_img(file, pixels, scale=False)

    def finetune(*more):
        command = [sys.executable, "-m", "gcvit_cli", "train", "finetune"]
        command += ["--out", "run", "--set", "data.dataset=photos"]
        command += ["--set", "data.batch_size=4", *more]
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "GCVIT_HOME": "empty", "GCVIT_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 1
        (line,) = [
            line
            for line in process.stderr.splitlines()
            if line.startswith("error: ")
        ]
        return line

    line = finetune()
    assert "GCVIT_OFFLINE" in line and "--out" not in line
    assert finetune("--set", "optimizer.learning_rate=1e-3") == line
