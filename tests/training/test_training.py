"""The digits dataset, the pipeline, the optimizer and a short run."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from gcvit_keras import load_image
from training import evaluate, read_config, train, write_config
from training.data import evaluation_batches, prepare, training_batches
from training.optimizer import adamw

DIGITS = read_config("digits")
SMALL = read_config(
    "digits",
    [
        "epochs=1",
        "optimizer.warmup_epochs=0",
        "data.batch_size=256",
        "model.embed_dim=8",
        "model.depths=[1, 2, 1, 1]",
        "model.num_heads=[1, 1, 1, 1]",
    ],
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def builder(data_dir):
    tfds.disable_progress_bar()
    return prepare("digits", data_dir)


def examples(builder, split):
    return list(builder.as_dataset(split=split).as_numpy_iterator())


def test_digits_are_scikit_learns_each_in_one_split(builder):
    images, labels = load_digits(return_X_y=True)
    expected = sorted(
        (int(label), np.round(image * 255 / 16).astype("uint8").tobytes())
        for image, label in zip(images, labels, strict=True)
    )
    train, test = examples(builder, "train"), examples(builder, "test")
    assert (len(train), len(test)) == (1437, 360)
    found = sorted(
        (int(e["label"]), e["image"].tobytes()) for e in train + test
    )
    assert found == expected


def test_digits_hold_out_a_fifth_of_every_class(builder):
    train, test = (
        np.bincount([e["label"] for e in examples(builder, split)])
        for split in ("train", "test")
    )
    # To within the one image that cannot be split.
    assert np.abs(test - 0.2 * (train + test)).max() < 1


def test_digits_are_on_disk_and_not_written_twice(builder, data_dir):
    files = sorted(data_dir.rglob("*.tfrecord*"))
    assert len(files) == 2
    times = [f.stat().st_mtime_ns for f in files]
    prepare("digits", data_dir)
    assert times == [f.stat().st_mtime_ns for f in files]


def test_evaluation_images_are_those_that_predict_reads(builder, tmp_path):
    raw = examples(builder, "test")[:20]
    ((images, labels), *_) = evaluation_batches(builder, "test", 32, 20)
    for example, image, label in zip(raw, images, labels, strict=True):
        path = tmp_path / "digit.png"
        Image.fromarray(example["image"][:, :, 0]).save(path)
        read = load_image(path, 32).astype("float32")
        assert np.abs(read - image).max() <= 1
        assert np.argmax(label) == example["label"]


def test_training_batches_repeat_with_the_seed_and_vary_by_epoch(builder):
    def epochs(seed):
        config = DIGITS.model_copy(update={"seed": seed})
        data = training_batches(builder, config)
        return [np.stack([i for i, _ in data.take(3)]) for _ in range(2)]

    first, again, other = epochs(0), epochs(0), epochs(1)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[0] - first[1]).max() > 10
    assert np.abs(first[0] - other[0]).max() > 10


def test_training_batches_are_whole_and_in_range(builder):
    batches = list(training_batches(builder, DIGITS))
    assert len(batches) == 1437 // 64
    for images, labels in batches:
        assert images.shape == (64, 32, 32, 3)
        assert 0 <= np.min(images) and np.max(images) <= 255
        np.testing.assert_array_equal(np.sum(labels, -1), 1)


def test_the_rate_warms_up_then_follows_a_cosine():
    config = read_config(
        "digits", ["epochs=10", "optimizer.learning_rate=1e-2"]
    )
    optimizer = adamw(config, steps_per_epoch=5)
    rates = []
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    for step in (0, 5, 10, 30, 50):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(
        rates, [1e-5, (1e-5 + 1e-2) / 2, 1e-2, 5e-3, 0], atol=1e-8
    )


def test_without_a_warm_up_the_rate_starts_at_its_highest():
    config = read_config("digits", ["optimizer.warmup_epochs=0"])
    assert float(adamw(config, 5).learning_rate) == pytest.approx(2e-3)


def test_norms_biases_scales_and_position_tables_do_not_decay(nano):
    model = nano(layer_scale=1e-5)
    optimizer = adamw(DIGITS, 5)
    optimizer.build(model.trainable_variables)
    decayed = {
        v.path.split("/")[-1]
        for v in model.trainable_variables
        if optimizer._use_weight_decay(v)
    }
    assert decayed == {"kernel"}


def test_evaluate_counts_the_right_ones():
    images = np.zeros((6, 2, 2, 3))
    labels = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    scores = np.eye(3)[[0, 1, 2, 0, 2, 1]]
    batches = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    given = iter([scores[:4], scores[4:]])
    assert evaluate(lambda _: next(given), batches) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    "override, words",
    [
        ("epochs=0", "epochs: Input should be greater than 0. Received: 0"),
        ("epochs=many", "epochs: Input should be a valid integer"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: .*: -1"),
        ("label_smoothing=1.5", "label_smoothing: .* less than 1"),
        ("data.batchsize=3", "data.batchsize: Extra inputs are not permitted"),
        ("optimizer.warmup_epochs=20", "must be below `epochs`.*=20, epochs"),
        ("model.depths=[1, 2]", r"model.depths.2: Field required.*1 more"),
        ("model=3", "model: Input should be a valid dict"),
        ("epochs.x=3", "epochs.x is not a field"),
        ("epochs", "must be section.field=value.*Received: 'epochs'"),
        ("epochs=[", "must be section.field=value"),
    ],
)
def test_impossible_configurations_are_refused_in_one_line(override, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        read_config("digits", [override])


def test_a_configuration_is_read_as_it_was_written(tmp_path):
    write_config(SMALL, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == SMALL


@pytest.mark.parametrize(
    "text, words",
    [
        (None, r"none of the recipes \['digits'\] and cannot be read"),
        ("a: [", "x.yaml is not YAML"),
        ("text", "x.yaml must be a mapping"),
        ("", "x.yaml must be a mapping"),
        ("epochs: 3", "x.yaml: data: Field required.*2 more"),
    ],
)
def test_files_that_are_no_configuration_are_refused(tmp_path, text, words):
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        read_config(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "override, words",
    [
        ("data.batch_size=2000", "at most the 1437 training images"),
        (
            "data.train_split=trian",
            r"train_split` must be one of \['test'",
        ),
        ("data.evaluation_split=tset", "evaluation_split.*Received: 'tset'"),
        ("data.dataset=digit", "`data.dataset` must be digits or a name"),
    ],
)
def test_what_the_dataset_does_not_have_is_refused(data_dir, override, words):
    with pytest.raises(ValueError, match=words):
        train(read_config("digits", [override]), data_dir)


MIRRORED = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
sys.path.insert(0, sys.argv[1])
from test_training import SMALL
from training import train
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
try:
    data = SMALL.data.model_copy(update={"batch_size": 255})
    train(SMALL.model_copy(update={"data": data}), sys.argv[2], strategy)
except ValueError as error:
    assert "multiple of the 2 replicas" in str(error), error
else:
    raise AssertionError("255 images were shared by 2 replicas")
model = train(SMALL, sys.argv[2], strategy, verbose=0)
steps = [int(v) for v in model.optimizer.iterations.value.values]
assert steps == [1437 // 256] * 2
copies = [v.value.values for v in model.trainable_variables]
assert all(len(c) == 2 for c in copies)
for first, second in copies:
    np.testing.assert_array_equal(first, second)
assert all(np.isfinite(c[0]).all() for c in copies)
print("two replicas agree")
"""


def test_fit_under_mirrored_strategy_keeps_replicas_equal(data_dir, builder):
    here = __file__.rsplit("/", 1)[0]
    process = subprocess.run(
        [sys.executable, "-c", MIRRORED, here, data_dir],
        capture_output=True,
        text=True,
    )
    assert "two replicas agree" in process.stdout, process.stderr[-2000:]
