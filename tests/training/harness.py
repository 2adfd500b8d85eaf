"""What every task goes through: trained, killed, gone on, evaluated, saved.

Run as a program, it trains: `harness.py MODULE RECIPE OUT DATA KILL_AT`, where
MODULE, if not empty, is imported first, and KILL_AT is the step of this
process after which it kills itself, or "evaluation".
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import load_file

from gcvit_training import read_config, train, write_config, write_report
from gcvit_training.run_folder import RunFolder

COMMAND = """
import os, sys
import tensorflow as tf
if "strategy=mirrored" in sys.argv:
    cpu = tf.config.list_physical_devices("CPU")[0]
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
from gcvit_cli.main import main
sys.argv[0] = "gcvit"
main()
"""
"""`gcvit`, on two logical devices where the strategy is for several."""


def train_arguments(recipe, out, *overrides, data_dir=None):
    """What follows `gcvit` to train."""
    arguments = ["train", recipe, "--out", out]
    if data_dir:
        arguments += ["--data-dir", data_dir]
    for override in overrides:
        arguments += ["--set", override]
    return arguments


def start_command(*arguments, **environment):
    """Starts `gcvit`."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def start_workers(*arguments):
    """Starts `gcvit` as two workers on the loopback, the chief first."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        start_command(
            *arguments,
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": i}}
            ),
        )
        for i in range(2)
    ]


def finish(*processes):
    """Waits for processes that must succeed."""
    outputs = [p.communicate(timeout=1200) for p in processes]
    for process, (output, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-2000:] + errors[-3000:]


class KillAt(keras.callbacks.Callback):
    """Kills this process after so many of its steps, or in an evaluation."""

    def __init__(self, when):
        super().__init__()
        self.left = 0 if when == "evaluation" else int(when)

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_test_end(self, logs=None):
        if self.left < 0:  # measured, and not yet written down
            os.kill(os.getpid(), signal.SIGKILL)


def metrics(out):
    """Rows of `metrics.csv`, without what the clock says."""
    with open(out / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("images_per_second", None)
    return rows


def last(out):
    """Arrays of the last checkpoint."""
    return load_file(RunFolder(out).saved()[0])


def goes_through(config, folder, data_dir=None, module="", kill_at=(8,)):
    """Trains twice: in one go, and killed; both must be the same.

    Args:
        config: A `RunConfig` with `deterministic` and some
            `checkpoint_steps`.
        folder: Folder for two runs.
        data_dir: As of `train`.
        module: Name of a module in this folder that adds the task, or "".
        kill_at: Steps after which the second run is killed, each counted from
            where it goes on, or `"evaluation"`.

    Returns:
        Folder of a run, the model in it as Keras loads it, and its result.
    """
    whole, killed = folder / "whole", folder / "killed"
    trained = train(config, whole, data_dir, verbose=0)
    recipe = folder / "recipe.yaml"
    write_config(config, recipe)
    command = [sys.executable, __file__, module, recipe, killed]
    for when in kill_at:
        process = subprocess.run(
            [*command, data_dir or "", str(when)],
            capture_output=True,
            text=True,
        )
        assert process.returncode == -signal.SIGKILL, process.stderr[-3000:]
        assert not (killed / "model.keras").exists()
    said = []
    train(config, killed, data_dir, verbose=0, report=said.append)
    assert said[0].startswith("Going on from step")
    assert metrics(killed) == metrics(whole)
    expected, found = last(whole), last(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)

    result = write_report(config, killed, data_dir)
    assert json.loads((killed / "evaluation.json").read_text()) == result
    assert (killed / "report.md").read_text().startswith("# ")
    model = keras.models.load_model(killed / "model.keras")
    for a, b in zip(
        model.trainable_variables, trained.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    return killed, model, result


if __name__ == "__main__":
    module, recipe, out, data, kill_at = sys.argv[1:]
    if module:
        __import__(module)
    train(
        read_config(recipe),
        Path(out),
        data or None,
        callbacks=[KillAt(kill_at)],
        verbose=0,
    )
