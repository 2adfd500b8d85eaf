"""The pipeline: what images become, in which order, on which worker."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from recipe import FEW, IN_TURN, small

from gcvit_keras import load_image
from gcvit_training import data as pipeline
from gcvit_training.tasks.classification import (
    Classification,
    evaluation_batches,
)
from gcvit_training.tasks.classification.sources import Folders, open_source

IMAGES = Path(__file__).parent.parent / "data" / "images"
PLAIN = ("augment={}", "data.batch_size=64")


def training_batches(source, config, **options):
    return pipeline.training_batches(Classification(config, source), **options)


def batches(source, config, count=None, how=IN_TURN, **options):
    """Images and labels of the next batches, as arrays."""
    found = training_batches(source, config, **options).with_options(how)
    return [(x.numpy(), y.numpy()) for x, y in found.take(count or -1)]


def context(workers, worker, replicas=None):
    return tf.distribute.InputContext(workers, worker, replicas or workers)


def joined(parts):
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_evaluation_images_are_those_that_predict_reads(digits, tmp_path):
    images, labels, weights = next(
        iter(evaluation_batches(digits, "test", small().data, 20))
    )
    raw = digits.examples("test").map(digits.load).take(20)
    for (encoded, label), image, one_hot in zip(
        raw.as_numpy_iterator(), images, labels, strict=True
    ):
        read = load_image(encoded, 32).astype("float32")
        assert np.abs(read - image).max() <= 1
        assert np.argmax(one_hot) == label
    assert np.all(weights == 1)


@pytest.mark.parametrize(
    "mode, interpolation", [("center", "bicubic"), ("squash", "bilinear")]
)
def test_evaluation_crops_photographs_as_predict_does(mode, interpolation):
    files = sorted(
        p for p in IMAGES.iterdir() if p.suffix in (".jpg", ".png", ".webp")
    )
    upright = []
    for path in files:
        with Image.open(path) as image:
            if image.mode == "RGB" and image.getexif().get(0x0112, 1) == 1:
                upright.append(path)
    assert len(upright) >= 2
    data = small(
        "data.image_size=96",
        "data.crop_ratio=0.875",
        f"data.crop_mode={mode}",
        f"data.interpolation={interpolation}",
    ).data
    source = Folders(("a",), {"test": [(str(path), 0) for path in upright]})
    batch = evaluation_batches(source, "test", data, len(upright))
    ((images, _, _),) = batch
    for path, image in zip(upright, images, strict=True):
        expected = load_image(path, 96, 0.875, mode, interpolation)
        difference = np.abs(image - expected.astype("float32"))
        # TensorFlow's JPEG decoder and Pillow's may differ by a grey level,
        # and rounding twice makes two of it.
        assert difference.max() <= 2 and difference.mean() < 0.2, path


@pytest.fixture(scope="module")
def mixed(digits):
    """Two epochs of five batches, mixed and varied, and their run.

    Read by several threads, in the order that one thread has.
    """
    config = small(
        *FEW,
        "epochs=2",
        "augment.mixup=0.8",
        "augment.cutmix=1",
        "augment.erasing=1",
        "augment.flip=0.5",
    )
    return config, batches(digits, config, how=tf.data.Options())


def test_epochs_differ_from_each_other_and_with_the_seed(digits, mixed):
    config, everything = mixed
    assert len(everything) == 2 * (86 // 16)
    a, b = everything[0][0], everything[5][0]
    assert np.abs(a - b).max() > 10
    other = config.model_copy(update={"seed": 1})
    ((c, _),) = batches(digits, other, 1)
    assert np.abs(a - c).max() > 10


def test_an_epoch_has_every_image_once(digits):
    config = small(*PLAIN, *FEW, "data.batch_size=86", "epochs=1")
    ((images, _),) = batches(digits, config)
    ((expected, _, _),) = evaluation_batches(
        digits, config.data.train_split, config.data, 86
    )
    keys = [
        sorted(image.tobytes() for image in np.asarray(some))
        for some in (images, expected)
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("step", [3, 5, 7])
def test_batches_go_on_from_any_step_as_they_were(digits, mixed, step):
    config, everything = mixed
    assert_same(everything[step:], batches(digits, config, first_step=step))


@pytest.mark.parametrize(
    "workers", [2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_workers_share_the_batches_that_one_would_have(digits, mixed, workers):
    config, everything = mixed
    shares = [
        batches(digits, config, 3, context=context(workers, w))
        for w in range(workers)
    ]
    together = [joined(parts) for parts in zip(*shares, strict=True)]
    assert_same(everything[:3], together)


def test_replicas_of_a_worker_take_turns(digits, mixed):
    config, everything = mixed
    halves = batches(digits, config, 4, context=context(1, 0, replicas=2))
    together = [joined(halves[:2]), joined(halves[2:])]
    assert_same(everything[:2], together)


def test_workers_may_read_files_of_their_own(tmp_path):
    from test_sources import png, write_records

    for i in range(3):
        examples = [(png(20 * i + k), 0) for k in range(5 + i)]
        write_records(tmp_path / f"train-{i}.tfrecord", examples)
    (tmp_path / "labels.txt").write_text("a\n")
    source = open_source(str(tmp_path))
    config = small(
        "data.batch_size=4", "augment={}", "epochs=2", "data.shard_by=files"
    )
    shares = [batches(source, config, context=context(2, w)) for w in range(2)]
    steps = 2 * pipeline.steps_per_epoch(Classification(config, source))
    assert [len(share) for share in shares] == [steps, steps] == [8, 8]
    half = steps // 2
    seen = [
        {int(image[0, 0, 0]) // 20 for images, _ in share for image in images}
        for share in (shares[0][:half], shares[1][:half])
    ]
    assert not seen[0] & seen[1]


def test_broken_images_are_replaced_counted_and_left_out(photos, tmp_path):
    broken = tmp_path / "broken.txt"
    config = small(*PLAIN, "data.batch_size=8", "epochs=1")
    found = batches(photos, config, broken=str(broken))
    assert [len(images) for images, _ in found] == [8, 8]
    images, labels = joined(found)
    different = {image.tobytes() for image in images}
    assert len(different) == 14
    # An image keeps its label where it stands in for another.
    label_of = {}
    for image, label in zip(images, labels, strict=True):
        assert label_of.setdefault(image.tobytes(), label.argmax()) == (
            label.argmax()
        )
    names = sorted(Path(p).name for p in broken.read_text().split())
    assert names == ["05.png", "10.jpeg"]
    weights = [
        w.numpy()
        for _, _, w in evaluation_batches(photos, "train", config.data, 5)
    ]
    assert [len(w) for w in weights] == [5, 5, 5, 1]
    assert np.concatenate(weights).sum() == 14


def test_a_batch_without_a_single_image_is_an_error(tmp_path):
    folder = tmp_path / "photos" / "train" / "a"
    folder.mkdir(parents=True)
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(b"\xff\xd8\xff no image")
    source = open_source(str(tmp_path / "photos"))
    config = small(*PLAIN, "data.batch_size=4", "epochs=1")
    with pytest.raises(tf.errors.InvalidArgumentError, match="is unreadable"):
        batches(source, config)


def test_random_crops_of_jpeg_are_parts_of_the_image(tmp_path):
    # A ramp: a crop's corners tell where it was.
    ramp = np.zeros((64, 96, 3), "uint8")
    ramp[..., 0] = np.arange(96)[None] * 2
    ramp[..., 1] = np.arange(64)[:, None] * 3
    folder = tmp_path / "photos" / "train" / "a"
    folder.mkdir(parents=True)
    for kind in ("png", "jpeg"):
        Image.fromarray(ramp).save(folder / f"a.{kind}", quality=95)
    source = open_source(str(tmp_path / "photos"))
    config = small(
        "data.batch_size=2",
        "epochs=16",
        "augment={crop_scale: [0.2, 0.6]}",
    )
    areas = []
    for images, _ in batches(source, config):
        for image in images:
            left, right = image[16, [1, -2], 0] / 2
            top, bottom = image[[1, -2], 16, 1] / 3
            width, height = (right - left) * 32 / 29, (bottom - top) * 32 / 29
            areas.append(width * height / (64 * 96))
    assert len(areas) == 32
    assert 0.15 < min(areas) < 0.35 < 0.45 < max(areas) < 0.7


def test_padding_makes_evaluation_even_and_weighs_nothing(digits):
    config = small("data.batch_size=20", "data.evaluation_split=test[:72]")
    task = Classification(config, digits)
    shares = [
        list(
            pipeline.evaluation_batches(task, context=context(2, w, replicas=4))
        )
        for w in range(2)
    ]
    # 72 images in 4 batches of 20, each on 2 workers with 2 replicas.
    assert [len(share) for share in shares] == [8, 8]
    assert {len(x) for share in shares for x, _, _ in share} == {5}
    weights = [w.numpy() for share in shares for _, _, w in share]
    assert np.concatenate(weights).sum() == 72


def test_an_elongated_image_does_not_fill_the_memory(tmp_path):
    # As a whole it would be resized to 224 x 13,440,000.
    folder = tmp_path / "photos" / "train" / "a"
    folder.mkdir(parents=True)
    Image.new("L", (60000, 1), 200).save(folder / "line.png")
    source = open_source(str(tmp_path / "photos"))
    data = small("data.image_size=224", "data.batch_size=2").data
    ((images, _, weights),) = evaluation_batches(source, "train", data, 2)
    assert weights.numpy().tolist() == [1]
    assert (images.numpy() == 200).all()


def test_a_tfdata_service_gives_every_image_once(digits):
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.split("://")[1]
    worker = service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address)
    )
    config = small(*PLAIN, *FEW, "epochs=2", f"data.service=grpc://{address}")
    plain = config.model_copy(
        update={"data": config.data.model_copy(update={"service": None})}
    )
    served = list(itertools.islice(training_batches(digits, config), 10))
    keys = [
        sorted(
            image.tobytes() for images, _ in some for image in images.numpy()
        )
        for some in (served, training_batches(digits, plain))
    ]
    assert keys[0] == keys[1]
    del worker, dispatcher


def test_fewer_files_than_workers_are_refused_at_the_start(tmp_path):
    from test_sources import png, write_records

    for i in range(3):
        examples = [(png(20 * i + k), 0) for k in range(4)]
        write_records(tmp_path / f"train-{i}.tfrecord", examples)
    (tmp_path / "labels.txt").write_text("a\n")
    source = open_source(str(tmp_path))
    config = small("data.batch_size=4", "augment={}", "data.shard_by=files")
    with pytest.raises(ValueError, match="with 3 files for 4 workers"):
        training_batches(source, config, context=context(4, 0))
