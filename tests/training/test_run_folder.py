"""The folder of a run: checkpoints, and what may have it."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from recipe import small

from gcvit_training import train
from gcvit_training.run_folder import RunFolder

WRITING = """
import sys
import numpy as np
from gcvit_training.run_folder import RunFolder
folder = RunFolder(sys.argv[1])
for step in range(1, 1000):
    folder.save(step, {"a": np.full(2**24, step, "float32")}, {"n": step}, 2)
"""


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITING, tmp_path])
    folder = RunFolder(tmp_path)
    until = time.monotonic() + 60
    half = []
    while not half and time.monotonic() < until:
        # Stopped, it cannot finish the file between the look and the kill.
        process.send_signal(signal.SIGSTOP)
        if len(folder.saved()) == 2:
            half = list(folder.checkpoints.glob(".writing-*"))
        if not half:
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
    process.kill()
    process.wait()
    assert half and half[0].exists()
    arrays, facts = folder.last()
    assert (arrays["a"] == facts["n"]).all() and not folder.damaged
    (tmp_path / "config.yaml").write_text(
        yaml.dump(small().model_dump(mode="json"))
    )
    with folder.claimed(small()):
        assert not list(folder.checkpoints.glob(".writing-*"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, {"a": np.ones(9)}, {"n": step}, 5)
    path = folder.saved()[0]
    path.write_bytes(path.read_bytes()[:-7])
    assert folder.last()[1] == {"n": 1}
    assert folder.damaged == [path]


def test_a_folder_is_for_one_run_at_a_time(data_dir, tmp_path):
    with (
        RunFolder(tmp_path).claimed(small()),
        pytest.raises(ValueError, match="`out` is in use by another run"),
    ):
        train(small(), tmp_path, data_dir)


@pytest.mark.parametrize("config", [None, "epochs: 3"])
def test_a_folder_of_something_else_is_refused(tmp_path, data_dir, config):
    if config:
        (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "thesis.doc").write_text("text")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        train(small(), tmp_path, data_dir)
    assert (tmp_path / "thesis.doc").read_text() == "text"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == ({"thesis.doc", "config.yaml"} if config else {"thesis.doc"})


@pytest.mark.parametrize(
    "override, words",
    [
        ("data.batch_size=2000", "at most the 1437 training images"),
        ("data.train_split=trian", r"train_split` must be one of \['test'"),
        ("data.evaluation_split=tset", "evaluation_split.*Received: 'tset'"),
        ("data.dataset=digit", "`data.dataset` must be digits, a name"),
    ],
)
def test_what_the_dataset_does_not_have_is_refused_and_may_be_tried_again(
    data_dir, tmp_path, override, words
):
    with pytest.raises(ValueError, match=words):
        train(small(override), tmp_path, data_dir)
    # The folder is not taken by what never ran.
    with RunFolder(tmp_path).claimed(small()):
        pass
