"""Where a run computes: any number of replicas, and the same result."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gcvit_training.run_folder import RunFolder
from gcvit_training.strategy import choose_strategy, is_chief

# argv: folder of this file, run folder, data folder, weights, overrides ...
RUN = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, tensorflow as tf
if "strategy=mirrored" in sys.argv:
    cpu = tf.config.list_physical_devices("CPU")[0]
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
from recipe import small
from gcvit_training import train
config = small(
    "model.depths=[1, 2, 1, 1]", "model.drop_path_rate=0", "augment={}",
    "data.batch_size=128", "optimizer.gradient_norm=0.5", *sys.argv[5:]
)
try:
    model = train(config, sys.argv[2], sys.argv[3], verbose=0)
except ValueError as error:
    print(f"error: {error}", flush=True)
    os._exit(1)
np.savez(sys.argv[4], *[np.asarray(v) for v in model.trainable_variables])
print("trained", flush=True)
"""


def start(out, data_dir, weights, *overrides, **environment):
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", RUN, here, out, data_dir, weights, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def start_workers(folder, data_dir, *overrides):
    """Two workers on the loopback; the chief first."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        start(
            folder / f"run{i}",
            data_dir,
            folder / f"worker{i}.npz",
            "strategy=multi_worker",
            *overrides,
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": i}}
            ),
        )
        for i in range(2)
    ]


def load(path):
    with np.load(path) as file:
        return [file[name] for name in file.files]


def rows(out):
    lines = (out / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    return [
        {
            name: float(value)
            for name, value in zip(names, line.split(","), strict=True)
            if name != "images_per_second"
        }
        for line in lines[1:]
    ]


@pytest.mark.slow
def test_workers_replicas_and_one_device_learn_the_same(
    data_dir, digits, tmp_path
):
    # Eleven steps, with clipping, which bites at every step.
    processes = start_workers(tmp_path, data_dir, "epochs=1")
    outputs = [p.communicate(timeout=300) for p in processes]
    for process, (output, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output + errors[-3000:]
    for name in ("one_device", "mirrored"):
        process = start(
            tmp_path / name,
            data_dir,
            tmp_path / f"{name}.npz",
            f"strategy={name}",
            "epochs=1",
        )
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors[-3000:]
    expected = load(tmp_path / "one_device.npz")
    for name in ("mirrored", "worker0", "worker1"):
        found = load(tmp_path / f"{name}.npz")
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5, err_msg=name)
    for name in ("mirrored", "run0"):
        for a, b in zip(
            rows(tmp_path / "one_device"), rows(tmp_path / name), strict=True
        ):
            assert b == pytest.approx(a, abs=1e-5)
    # Only the chief writes.
    assert (tmp_path / "run0" / "model.keras").is_file()
    assert not (tmp_path / "run1").exists()


@pytest.mark.slow
def test_the_other_worker_ends_when_one_dies_and_both_go_on(
    data_dir, digits, tmp_path
):
    chief, other = start_workers(tmp_path, data_dir, "epochs=50")
    until = time.monotonic() + 200
    while not (tmp_path / "run0" / "metrics.csv").exists():
        assert time.monotonic() < until and chief.poll() is None
        time.sleep(0.1)
    other.send_signal(signal.SIGKILL)
    other.wait()
    died = time.monotonic()
    output, _ = chief.communicate(timeout=200)
    assert chief.returncode == 1
    assert "error: another worker is gone; start all" in output
    assert time.monotonic() - died < 150
    _, facts = RunFolder(tmp_path / "run0").last()
    assert facts["step"] >= 11
    assert not list((tmp_path / "run0").rglob(".writing-*"))


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "needs the environment variable TF_CONFIG"),
        ("{", "TF_CONFIG must be JSON such as"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "must be one of its clu"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, '
            '"task": {"type": "worker", "index": 2}}',
            "must be one of its cluster's chief and workers. Received",
        ),
    ],
)
def test_clusters_that_cannot_be_are_refused(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=words):
        choose_strategy("multi_worker")


def test_this_machine_alone_is_one_device_and_the_chief(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = choose_strategy("auto")
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert is_chief(strategy)


def test_a_tpu_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(ValueError, match="^`strategy` is tpu: [^\n]*$"):
        choose_strategy("tpu")
