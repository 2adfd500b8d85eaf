"""Runs: their folder, what stops them, and that they go on as they were."""

import os
import re
import resource
import signal

import keras
import numpy as np
import pytest
from autoencoder import stripes
from harness import last, metrics
from recipe import FEW, small
from safetensors.numpy import load_file

from gcvit_training import (
    Preempted,
    TrainingError,
    read_config,
    train,
    write_report,
)
from gcvit_training.progress import Bar
from gcvit_training.run_folder import RunFolder
from gcvit_training.tasks.classification.network import build_network

REPEATABLE = (
    "deterministic=true",
    "optimizer.ema=0.9",
    "optimizer.epsilon=1e-5",
    "checkpoint_steps=2",
)
EXACT = (*FEW, *REPEATABLE, "optimizer.freeze_epochs=1")


def quiet(config, out, data_dir, **options):
    return train(config, out, data_dir, verbose=0, **options)


class At(keras.callbacks.Callback):
    """Does something after a step of this process."""

    def __init__(self, step, action):
        super().__init__()
        self.left, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            self.action()


class Snapshots(keras.callbacks.Callback):
    """Keeps the network's weights at every epoch's end."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([v.numpy() for v in self.model.network.weights])


@pytest.fixture(scope="module")
def run(data_dir, digits, tmp_path_factory):
    """A classifier's, whose first epoch is frozen, and its weights."""
    out, snapshots = tmp_path_factory.mktemp("finished"), Snapshots()
    quiet(small(*EXACT), out, data_dir, callbacks=[snapshots])
    return out, snapshots.epochs


@pytest.fixture(scope="module")
def finished(run):
    """The run's folder."""
    return run[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of the autoencoder, which is traced in a second."""
    out = tmp_path_factory.mktemp("undisturbed")
    quiet(stripes(*REPEATABLE), out, None)
    return out


def test_a_run_leaves_what_it_is_asked_to(finished, digits):
    assert read_config(finished / "config.yaml") == small(*EXACT)
    assert [row["epoch"] for row in metrics(finished)] == ["0", "1", "2"]
    names = [p.stem for p in RunFolder(finished).saved()]
    assert names == ["step-000000015", "step-000000014"]
    labels = (finished / "labels.txt").read_text().splitlines()
    assert labels == list(digits.names)
    assert list((finished / "logs" / "train").iterdir())
    model = keras.models.load_model(finished / "model.keras")
    assert model.output_shape == (None, 10)
    averages = [v for k, v in last(finished).items() if k[:8] == "averages"]
    for weights, average in zip(
        model.trainable_variables, averages, strict=True
    ):
        np.testing.assert_array_equal(weights, average)


def test_a_run_that_is_asked_to_stop_goes_on_and_ends_as_one_that_was_not(
    undisturbed, tmp_path
):
    # In step 7, the third of the second epoch.
    config, said = stripes(*REPEATABLE), []
    stop = At(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted) as stopped:
        quiet(config, tmp_path, None, callbacks=[stop], report=said.append)
    assert stopped.value.code == 143
    assert len(metrics(tmp_path)) == 1
    quiet(config, tmp_path, None, report=said.append)
    assert "as SIGTERM asked" in said[0] and "of epoch 2" in said[1]
    assert_same(tmp_path, undisturbed)


def assert_same(out, expected):
    """Two runs have the same metrics and the same last checkpoint."""
    assert metrics(out) == metrics(expected)
    found, arrays = last(out), last(expected)
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_a_finished_run_is_not_trained_again(finished, data_dir):
    before = last(finished)
    quiet(small(*EXACT), finished, data_dir)
    for name, value in last(finished).items():
        np.testing.assert_array_equal(value, before[name])


class Death(BaseException):
    """Ends a run between two steps, as a crash does."""


def die():
    raise Death


def test_a_run_that_dies_in_an_epochs_first_steps_has_the_same_metrics(
    undisturbed, tmp_path
):
    # The last checkpoint is an epoch's end.
    config = stripes(*REPEATABLE, "checkpoint_steps=100")
    with pytest.raises(Death):
        quiet(config, tmp_path, None, callbacks=[At(7, die)])
    assert RunFolder(tmp_path).last()[1]["step"] == 4
    quiet(stripes(*REPEATABLE), tmp_path, None)
    assert_same(tmp_path, undisturbed)


def test_a_callback_that_stops_the_training_ends_the_run(tmp_path):
    config = stripes("epochs=7")
    patience = keras.callbacks.EarlyStopping(
        "val_error", mode="min", min_delta=1e9, patience=1
    )
    quiet(config, tmp_path, None, callbacks=[patience])
    assert [row["epoch"] for row in metrics(tmp_path)] == ["0", "1"]
    assert (tmp_path / "model.keras").is_file()
    # Nor does it go on when it is called again.
    quiet(config, tmp_path, None)
    assert len(metrics(tmp_path)) == 2


def test_only_the_head_moves_while_the_rest_is_frozen(run):
    _, epochs = run
    keras.utils.set_random_seed(small(*EXACT).seed)
    network = build_network(small(*EXACT), 10)
    start = [v.numpy() for v in network.weights]
    for variable, *values in zip(network.weights, start, *epochs, strict=True):
        moved = [
            not np.array_equal(a, b)
            for a, b in zip(values[:-1], values[1:], strict=True)
        ]
        if variable.path.startswith("predictions"):
            assert moved == [True, True, True]
        elif variable.trainable:
            assert moved == [False, True, True], variable.path


def test_a_callback_may_stop_in_the_middle_of_an_epoch(tmp_path):
    def stop():
        at.model.stop_training = True

    at = At(7, stop)
    quiet(stripes("epochs=4"), tmp_path, None, callbacks=[at])
    assert len(metrics(tmp_path)) == 2
    assert RunFolder(tmp_path).last()[1]["step"] == 7


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path):
    # The rate rises for two epochs, then falls: as sure a metric as any.
    config = stripes(
        "epochs=9",
        "optimizer.warmup_epochs=2",
        "optimizer.ema=0.5",
        "best_metric=learning_rate",
        "patience=2",
    )
    said = []
    quiet(config, tmp_path, None, report=said.append)
    rows = metrics(tmp_path)
    rates = [float(row["learning_rate"]) for row in rows]
    assert len(rows) == 4 and max(rates) == rates[1]
    assert said == [
        "Stopped: learning_rate was best in epoch 2, and `patience` is 2."
    ]
    (tmp_path / "best.keras").replace(tmp_path / "model.keras")
    error = write_report(config, tmp_path)["error"]
    assert error == pytest.approx(float(rows[1]["val_error"]), rel=1e-5)


def test_a_metric_that_is_not_there_is_named(tmp_path):
    config = stripes("best_metric=val_eror", "epochs=1")
    with pytest.raises(TrainingError, match="one of .*'val_error'.*val_eror"):
        quiet(config, tmp_path, None)
    with pytest.raises(ValueError, match="`patience` needs `best_metric`"):
        small("patience=3")


def test_a_finished_run_may_be_given_more_epochs(tmp_path):
    quiet(stripes("epochs=1"), tmp_path, None)
    quiet(stripes("epochs=2"), tmp_path, None)
    assert [row["epoch"] for row in metrics(tmp_path)] == ["0", "1"]
    assert read_config(tmp_path / "config.yaml").epochs == 2
    with pytest.raises(ValueError, match="epochs=2, not 1"):
        quiet(stripes("epochs=1"), tmp_path, None)


def test_several_steps_at_once_are_the_same_steps(
    undisturbed, data_dir, tmp_path
):
    # Several steps of one graph are rounded otherwise. Where a gradient is
    # nothing but that, Adam's own epsilon of 1e-8 makes a whole step of it:
    # one weight was off by 1.4e-6. With 1e-5 all are equal to a last bit.
    config = stripes(*REPEATABLE, "steps_per_execution=4")
    quiet(config, tmp_path / "run", None)
    found = last(tmp_path / "run")
    for name, value in last(undisturbed).items():
        np.testing.assert_allclose(found[name], value, atol=2e-7, err_msg=name)
    config = small("optimizer.warmup_steps=15")
    with pytest.raises(ValueError, match="must be below the 5 x 3 steps"):
        quiet(config, tmp_path / "other", data_dir)
    config = small("steps_per_execution=2")
    with pytest.raises(ValueError, match="must divide the 5 steps per epoch"):
        quiet(config, tmp_path / "other", data_dir)


def test_the_bar_fits_into_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    bar = Bar(30)
    bar.set_params({"verbose": 1, "epochs": 30, "steps": 1250})
    bar.on_epoch_begin(0)
    logs = {
        "accuracy": 0.51234,
        "loss": 1.2345,
        "images_per_second": 1234.5678,
        "a_third": 3.0,
    }
    for step in range(1250):
        bar.on_train_batch_end(step, dict(logs))
    text = re.sub(r"\x1b\[[0-9;]*m|\x08", "", capsys.readouterr().out)
    lines = re.split(r"[\r\n]", text)
    assert max(map(len, lines)) <= 80
    assert any("loss: 1.2345" in line for line in lines)


def test_a_full_disk_is_an_error_and_the_last_checkpoint_is_whole(tmp_path):
    config = stripes("checkpoint_steps=2")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill = At(
        3,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1])),
    )
    try:
        with pytest.raises(
            TrainingError, match="step 4 cannot be written: .*2.saf.*is whole"
        ):
            quiet(config, tmp_path, None, callbacks=[fill])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    arrays, facts = RunFolder(tmp_path).last()
    assert facts["step"] == 2
    assert not list(tmp_path.rglob(".writing-*"))


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, precision):
    config = stripes(
        "optimizer.learning_rate=1e30",
        f"precision={precision}",
        "optimizer.gradient_norm=1e30",
        "checkpoint_steps=1",
        "data.batch_size=1",
        "epochs=2",
    )
    with pytest.raises(TrainingError, match="not finite after step .*optimi"):
        quiet(config, tmp_path, None)
    for path in RunFolder(tmp_path).saved():
        for name, value in load_file(path).items():
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize(
    "override, words",
    [
        ("optimizer.learning_rate=0.5", "optimizer.learning_rate=0.001, not"),
        ("seed=3", "seed=0, not 3"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    finished, data_dir, override, words
):
    with pytest.raises(ValueError, match=words):
        quiet(small(*EXACT, override), finished, data_dir)


def test_an_error_of_the_system_inside_a_run_speaks_for_itself(tmp_path):
    def fail():
        raise OSError("the server of weights does not answer")

    with pytest.raises(OSError, match="^the server of weights does not answer"):
        quiet(stripes(), tmp_path, None, callbacks=[At(1, fail)])
    # Nothing was saved, and other settings may have the folder.
    quiet(stripes("epochs=1", "seed=4"), tmp_path, None)
    assert len(metrics(tmp_path)) == 1


def test_too_many_broken_images_stop_the_run(tmp_path):
    with pytest.raises(TrainingError, match=r"2 images.*0.01 of 32: 0, 1, "):
        quiet(stripes("unreadable=2"), tmp_path, None)


def test_a_few_broken_images_are_said_to_be_left_out(tmp_path):
    config = stripes("unreadable=2", "data.broken_share=0.1", "epochs=1")
    said = []
    quiet(config, tmp_path, None, report=said.append)
    assert said == [
        "2 images cannot be read, and are left out: "
        f"{tmp_path}/broken_images.txt"
    ]


def test_a_keras_file_gets_a_new_head_for_other_classes(finished):
    start = keras.models.load_model(finished / "model.keras")
    weights = finished / "model.keras"
    config = read_config(
        "finetune",
        [f"model={{weights: {weights}}}", "data.image_size=32"],
    )
    for classes in (10, 3):
        network = build_network(config, classes)
        assert network.output_shape == (None, classes)
        for layer in ("stem", "level_2_block_0", "norm"):
            for a, b in zip(
                network.get_layer(layer).weights,
                start.get_layer(layer).weights,
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)
    config = read_config("finetune", [f"model={{weights: {weights}}}"])
    with pytest.raises(ValueError, match=r"must be those of .*\(32, 32, 3\)"):
        build_network(config, 3)


def test_a_keras_file_beats_no_setting_in_silence(finished):
    override = f"model.weights={finished / 'model.keras'}"
    config = read_config("finetune", [override, "data.image_size=32"])
    words = "`model.variant`, `model.drop_path_rate` must be null with a .keras"
    with pytest.raises(ValueError, match=words):
        build_network(config, 10)
