"""A run that cannot download what it starts from."""

import keras
import numpy as np
from command import refused


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
        return refused(
            *("train", "finetune", "--out", "run"),
            *("--set", "data.dataset=photos", "--set", "data.batch_size=4"),
            *more,
            cwd=tmp_path,
            GCVIT_HOME="empty",
            GCVIT_OFFLINE="1",
        )

    line = finetune()
    assert "GCVIT_OFFLINE" in line and "--out" not in line
    assert finetune("--set", "optimizer.learning_rate=1e-3") == line
