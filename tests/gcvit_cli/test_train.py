"""`gcvit train`."""

import csv
import json

import keras
import pytest
from command import gcvit, refused

from training import read_config

SMALL = (
    *("--set", "epochs=2", "--set", "optimizer.warmup_epochs=0"),
    *("--set", "data.batch_size=256", "--set", "model.embed_dim=8"),
    *("--set", "model.depths=[1, 2, 1, 1]"),
    *("--set", "model.num_heads=[1, 1, 1, 1]"),
)


def test_train_writes_the_run_and_its_model_predicts(tmp_path):
    code, output, errors = gcvit(
        "train", "digits", "--out", "run", "--json", *SMALL, cwd=tmp_path
    )
    assert code == 0, errors
    result = json.loads(output)
    run = tmp_path / "run"
    config = read_config(run / "config.yaml")
    assert result["config"] == config.model_dump(mode="json")
    assert config.epochs == 2 and config.model.embed_dim == 8
    with open(run / "metrics.csv") as file:
        epochs = [row["epoch"] for row in csv.DictReader(file)]
    assert epochs == ["0", "1"]
    assert result["images"] == 360
    model = keras.models.load_model(run / "model.keras")
    assert model.output_shape == (None, 10)
    assert (run / "labels.txt").read_text().split() == list("0123456789")
    line = refused("train", "digits", "--out", "run", cwd=tmp_path)
    assert "--out is not empty: run" in line


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("nothing",), "none of the recipes ['digits']"),
        (("digits", "--set", "epoch=3"), "epoch: Extra inputs"),
        (("digits", "--set", "epochs"), "must be section.field=value"),
        (("digits", "--out", "file"), "--out cannot be written: file"),
    ],
)
def test_train_refuses_in_one_line_before_it_starts(tmp_path, arguments, words):
    (tmp_path / "file").write_text("")
    if "--out" not in arguments:
        arguments = (*arguments, "--out", "run")
    assert words in refused("train", *arguments, cwd=tmp_path)
    assert not (tmp_path / "run").exists()
