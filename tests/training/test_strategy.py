"""Where a run computes: any number of replicas, and the same result."""

import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from harness import finish, start_command, train_arguments
from harness import start_workers as start_workers_of
from recipe import SMALL
from safetensors.numpy import load_file

from gcvit_training import read_config, train
from gcvit_training.run_folder import RunFolder
from gcvit_training.strategy import choose_strategy, is_chief

RECIPE = (
    *SMALL,
    "model.depths=[1, 2, 1, 1]",
    "model.drop_path_rate=0",
    "augment={}",
    "data.batch_size=128",
    "optimizer.gradient_norm=0.5",
)


def digits_run(out, data_dir, *overrides):
    """The arguments of `gcvit train`."""
    return train_arguments(
        "digits", out, *RECIPE, *overrides, data_dir=data_dir
    )


def start(out, data_dir, *overrides):
    """Starts `gcvit train`."""
    return start_command(*digits_run(out, data_dir, *overrides))


def start_workers(out, data_dir, *overrides):
    """Starts two workers on the loopback, the chief first."""
    return start_workers_of(*digits_run(out, data_dir, *overrides))


def train_alone(out, data_dir, *overrides):
    """Trains on one device, in this process and without a report."""
    overrides = (*RECIPE, *overrides, "strategy=one_device")
    train(read_config("digits", overrides), out, data_dir, verbose=0)


def weights(out):
    """What was trained, as arrays by name."""
    arrays = load_file(RunFolder(out).saved()[0])
    return {k: v for k, v in arrays.items() if k.startswith("network/")}


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
    finish(*start_workers(tmp_path / "workers", data_dir, "epochs=1"))
    mirrored = (tmp_path / "mirrored", data_dir, "strategy=mirrored")
    mirrored = start(*mirrored, "epochs=1")
    train_alone(tmp_path / "one_device", data_dir, "epochs=1")
    finish(mirrored)
    expected = weights(tmp_path / "one_device")
    for name in ("mirrored", "workers"):
        found = weights(tmp_path / name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, atol=1e-5, err_msg=f"{name} {key}"
            )
        for a, b in zip(
            rows(tmp_path / "one_device"), rows(tmp_path / name), strict=True
        ):
            assert b == pytest.approx(a, abs=1e-5)
        assert (tmp_path / name / "report.md").is_file()


@pytest.mark.slow
def test_replicas_that_xla_compiles_learn_the_same(data_dir, digits, tmp_path):
    # XLA takes minutes for both replicas' steps on a CPU.
    few = ("epochs=1", "data.train_split=train[:384]", "strategy=mirrored")
    finish(start(tmp_path / "plain", data_dir, *few))
    finish(start(tmp_path / "compiled", data_dir, *few, "jit_compile=true"))
    expected, found = (weights(tmp_path / n) for n in ("plain", "compiled"))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)


@pytest.mark.slow
def test_the_other_worker_ends_when_one_dies_and_both_go_on(
    data_dir, digits, tmp_path
):
    out = tmp_path / "run"
    many = "epochs=6"
    chief, other = start_workers(out, data_dir, many)
    until = time.monotonic() + 300
    while not (out / "metrics.csv").exists():
        assert time.monotonic() < until and chief.poll() is None
        time.sleep(0.05)
    other.send_signal(signal.SIGKILL)
    other.wait()
    died = time.monotonic()
    _, errors = chief.communicate(timeout=200)
    assert chief.returncode == 1
    assert "error: another worker is gone; start all" in errors
    assert time.monotonic() - died < 150
    _, facts = RunFolder(out).last()
    assert 11 <= facts["step"] < 66
    assert not list(out.rglob(".writing-*"))
    finish(*start_workers(out, data_dir, many))
    assert [row["epoch"] for row in rows(out)] == list(range(6))
    train_alone(tmp_path / "alone", data_dir, many)
    alone, together = rows(tmp_path / "alone"), rows(out)
    assert alone[-1] == pytest.approx(together[-1], abs=2e-2)


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
