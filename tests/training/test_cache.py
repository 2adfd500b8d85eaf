"""Keeping what is read of files in memory or in a folder."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from recipe import FEW, small
from test_data import PLAIN, assert_same, batches, joined, training_batches

from gcvit_training.tasks.classification.sources import open_source


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_cached_epochs_have_the_same_images_in_other_orders(
    digits, tmp_path, where
):
    cache = where if where == "memory" else str(tmp_path / "cache")
    config = small(*PLAIN, *FEW, "epochs=2", f"data.cache={cache}")
    found = batches(digits, config)
    half = len(found) // 2
    first, second = (joined(part)[0] for part in (found[:half], found[half:]))
    assert np.abs(first - second).max() > 10
    assert_same(found[half + 3 :], batches(digits, config, first_step=half + 3))


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_a_cache_holds_the_images_and_shuffles_as_well(photos, tmp_path, where):
    # Two classes, one after the other; with two images to shuffle among, a
    # cache in their order would begin with one class only.
    cache = where if where == "memory" else str(tmp_path / "cache")
    config = small(
        *PLAIN,
        "data.batch_size=7",
        "epochs=3",
        "data.shuffle_buffer=2",
        f"data.cache={cache}",
    )
    found = batches(photos, config)
    first = np.concatenate([labels.argmax(-1) for _, labels in found[::2]])
    assert 0.2 < first.mean() < 0.8
    # The files are not read again.
    lazy = iter(training_batches(photos, config))
    images, _ = next(lazy)
    shutil.rmtree(tmp_path / "photos")
    everything = [images, *(images for images, _ in lazy)]
    for a, (b, _) in zip(everything, found, strict=True):
        np.testing.assert_array_equal(a, b)


def labels(source, config):
    """Labels of an epoch, sorted."""
    found = batches(source, config)
    return sorted(int(k) for _, one_hot in found for k in one_hot.argmax(-1))


def test_a_cache_folder_is_made_anew_where_an_image_changes_its_class(
    photos, tmp_path
):
    cache = f"data.cache={tmp_path / 'cache'}"
    config = small(*PLAIN, "data.batch_size=16", "epochs=1", cache)
    before = labels(photos, config)
    train = tmp_path / "photos" / "train"
    (train / "a" / "00.png").rename(train / "b" / "00.png")
    moved = labels(open_source(str(tmp_path / "photos")), config)
    assert sum(moved) > sum(before)


def test_the_order_of_a_cache_does_not_follow_from_tensorflow_s_seed(
    photos, tmp_path
):
    orders = []
    for seed in (1, 2):
        tf.random.set_seed(seed)
        cache = f"data.cache={tmp_path / str(seed)}"
        config = small(*PLAIN, "data.batch_size=16", "epochs=1", cache)
        orders.append(batches(photos, config))
    assert_same(*orders)


FILLING = """
import sys
from recipe import small
from test_data import PLAIN, open_source, training_batches
training_batches(
    open_source(sys.argv[1]),
    small(*PLAIN, "data.batch_size=16", f"data.cache={sys.argv[2]}"),
)
"""


def test_a_cache_folder_that_a_kill_left_half_filled_is_filled_again(
    photos, tmp_path
):
    # It waits for the last image, which is a pipe that nobody writes to.
    pipe = tmp_path / "photos" / "train" / "b" / "15.jpeg"
    content = pipe.read_bytes()
    pipe.unlink()
    os.mkfifo(pipe)
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", FILLING, tmp_path / "photos", cache]
    process = subprocess.Popen(command, cwd=Path(__file__).parent)
    until = time.monotonic() + 120
    while not list(cache.rglob("*.lockfile")) and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(cache.rglob("*.lockfile"))
    pipe.unlink()
    pipe.write_bytes(content)
    config = small(
        *PLAIN, "data.batch_size=16", "epochs=1", f"data.cache={cache}"
    )
    assert len(labels(photos, config)) == 16
    assert not list(cache.rglob("*.lockfile"))
