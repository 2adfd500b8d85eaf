"""Segmentation goes through the engine, is measured rightly, and learns."""

import json

import keras
import numpy as np
import pytest
import scenes
import tensorflow as tf
import yaml
from command import inside
from harness import goes_through, metrics
from PIL import Image

from gcvit_training import read_config, train, write_report
from gcvit_training.data import evaluation_batches
from gcvit_training.tasks import open_task
from gcvit_training.tasks.segmentation import SegmentationEvaluator

RECIPE = {
    "task": "segmentation",
    "epochs": 2,
    "data": {
        "evaluation_split": "val",
        "batch_size": 4,
        "crop_size": 32,
        "short_side": None,
        "largest_side": 48,
    },
    "optimizer": {"learning_rate": 2e-3, "schedule": "poly", "warmup_steps": 2},
    "model": {
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 1, 1],
        "mlp_ratio": 1,
        "window_size": [4, 4, 4, 4],
        "channels": 8,
        "auxiliary_channels": 8,
    },
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    scenes.write(folder, {"train": 12, "val": 5}, side=48)
    return folder


@pytest.fixture(scope="module")
def recipe(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    fields = {**RECIPE, "data": {**RECIPE["data"], "dataset": str(dataset)}}
    path.write_text(yaml.dump(fields))
    return path


@pytest.mark.slow
def test_a_segmenter_goes_through(recipe, tmp_path):
    config = read_config(recipe, ["deterministic=true", "checkpoint_steps=2"])
    out, model, result = goes_through(config, tmp_path, kill_at=(3,))
    assert (out / "labels.txt").read_text().split() == list(scenes.NAMES)
    rows = metrics(out)
    for row in rows:
        parts = float(row["main"]) + float(row["auxiliary"])
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-5)
    # The report and the last epoch's validation are one evaluator's.
    assert result["images"] == 5
    assert float(rows[-1]["val_miou"]) == pytest.approx(
        result["miou"], rel=1e-5
    )
    assert "| ring |" in (out / "report.md").read_text()
    assert model.output_shape == (None, None, None, 4)


def by_hand(labels, taken, classes):
    """Overlap and accuracy of each class, pixel by pixel."""
    counts = labels != 255
    rows = []
    for k in range(classes):
        truth, found = (labels == k) & counts, (taken == k) & counts
        union = (truth | found).sum()
        hits = (truth & found).sum()
        rows.append(
            (
                hits / union if union else None,
                hits / truth.sum() if truth.any() else None,
            )
        )
    return rows


@pytest.fixture(scope="module")
def task(recipe):
    """A task that measures images in their own size."""
    return open_task(read_config(recipe, ["data.batch_size=2"]))


class Colours:
    """Logits that follow from the colours of pixels, at a quarter."""

    def __call__(self, images, training=False):
        x = tf.image.resize(images, -(-tf.shape(images)[1:3] // 4))
        x = tf.stack([x[..., 0], x[..., 1], x[..., 2], x[..., 0] * 0 + 99], -1)
        return x / 50


def measured(task, recipe, *overrides):
    """The task's result of `Colours`, and the classes it should take."""
    from gcvit_training.data import evaluation_batches
    from gcvit_training.evaluator import evaluate, predict_in_graph

    config = read_config(recipe, ["data.batch_size=2", *overrides])
    task = type(task)(config, task.source)
    evaluator = evaluate(
        task.evaluator(),
        predict_in_graph(task, Colours()),
        evaluation_batches(task),
    )
    return evaluator.result()


def test_measures_are_numpy_s(task, recipe, dataset):
    """Of images in their own size, against label maps in theirs."""
    result = measured(task, recipe)
    labels, taken = [], []
    for path in sorted((dataset / "labels" / "val").glob("*.png")):
        labels.append(np.array(Image.open(path)))
        image = (dataset / "images" / "val" / path.stem).with_suffix(".jpg")
        pixels = np.float32(Image.open(image))[None]
        logits = tf.image.resize(Colours()(pixels), (48, 48))[0]
        taken.append(np.argmax(logits, -1))
    labels, taken = np.stack(labels), np.stack(taken)
    rows = by_hand(labels, taken, 4)
    assert result["images"] == 5
    for (iou, accuracy), row in zip(rows, result["per_class"], strict=True):
        # Decoders of JPEG differ by a grey level here and there.
        assert row["iou"] == pytest.approx(iou, abs=0.01)
        assert row["accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert result["miou"] == pytest.approx(
        np.mean([iou for iou, _ in rows]), abs=0.01
    )
    assert result["pixel_accuracy"] == pytest.approx(
        (labels == taken).mean(), abs=0.01
    )


def test_an_image_is_measured_by_windows(task, recipe, dataset):
    result = measured(task, recipe, "data.window=32", "data.stride=16")
    right, count = 0, 0
    for path in sorted((dataset / "labels" / "val").glob("*.png")):
        labels = np.array(Image.open(path))
        image = (dataset / "images" / "val" / path.stem).with_suffix(".jpg")
        pixels = np.float32(Image.open(image))
        total, seen = np.zeros((48, 48, 4)), np.zeros((48, 48, 1))
        for top in (0, 16):
            for left in (0, 16):
                part = np.s_[top : top + 32, left : left + 32]
                logits = Colours()(pixels[part][None])
                total[part] += tf.image.resize(logits, (32, 32))[0]
                seen[part] += 1
        right += (np.argmax(total / seen, -1) == labels)[labels != 255].sum()
        count += (labels != 255).sum()
    assert result["pixel_accuracy"] == pytest.approx(right / count, abs=0.01)


def test_label_maps_without_a_class_are_not_measured():
    evaluator = SegmentationEvaluator("ab")
    evaluator.update(np.zeros((3, 2, 2)), None, np.ones(3))
    with pytest.raises(ValueError, match="no pixel of the 3 images to evalu"):
        evaluator.result()


def test_an_evaluator_counts_as_numpy_does():
    random = np.random.default_rng(0)
    labels, taken = random.integers(0, 4, (2, 3, 20, 20))
    labels[labels == 2] = 255  # in no label map, and class 3 taken for others
    evaluator = SegmentationEvaluator("abcde")
    for truth, found in zip(labels, taken, strict=True):
        confusion = np.zeros((5, 5), int)
        for t, f in zip(truth.ravel(), found.ravel(), strict=True):
            if t != 255:
                confusion[t, f] += 1
        evaluator.update(confusion[None], None, np.ones(1))
    evaluator.update(None, None, np.zeros(2))
    result = evaluator.result()
    rows = by_hand(labels, taken, 5)
    assert [(r["iou"], r["accuracy"]) for r in result["per_class"]] == [
        (pytest.approx(i), pytest.approx(a)) if a is not None else (i, a)
        for i, a in rows
    ]
    assert rows[2] == (0.0, None) and rows[4] == (None, None)
    assert result["miou"] == pytest.approx(np.mean([i for i, _ in rows[:4]]))
    assert (result["images"], result["left_out"]) == (3, 2)


def test_query_pools_of_a_recipe_are_the_backbone_s(recipe):
    config = read_config(recipe, ["model.query_pools=[3,2,1,0]"])
    backbone = open_task(config).network().backbone
    assert backbone.get_config()["query_pools"] == (3, 2, 1, 0)
    backbone = open_task(read_config(recipe)).network().backbone
    assert backbone.get_config()["query_pools"] == (3, 2, 0, 0)


def test_check_data_finds_what_cannot_be_used(dataset, recipe, tmp_path):
    broken = tmp_path / "broken"
    scenes.write(broken, {"train": 6, "val": 2}, side=48)
    maps = broken / "labels" / "train"
    Image.new("L", (40, 48)).save(maps / "0000.png")
    Image.new("L", (48, 48), 77).save(maps / "0001.png")
    Image.new("RGB", (48, 48)).save(maps / "0002.png")
    (maps / "0003.png").unlink()
    (broken / "images" / "train" / "0004.jpg").write_bytes(b"\xff\xd8\xff")
    code, output, errors = inside(
        "train", recipe, "--check-data", "--json",
        "--set", f"data.dataset={broken}", cwd=tmp_path,
    )  # fmt: skip
    assert code == 1
    assert "4 of 5 images of 'train' cannot be used: more than" in errors
    found = json.loads(output)["train"]
    reasons = {p["image"][-8:]: p["reason"] for p in found["broken"]}
    assert "40 x 48 pixels, the image of 48 x 48" in reasons["0000.jpg"]
    assert reasons["0001.jpg"] == "numbers of no class: [77]"
    assert "without a palette" in reasons["0002.jpg"]
    assert reasons["0004.jpg"].startswith("the image: ")
    assert [p["reason"] for p in found["ignored"]] == [
        "an image without a label map"
    ]
    assert found["images"] == 5
    # What there is to learn from: the one pair that can be used.
    assert sum(found["classes"].values()) == 48 * 48


def test_a_preview_shows_crops_with_their_classes(recipe, tmp_path):
    code, output, errors = inside(
        "train", recipe, "--preview", "look.png", cwd=tmp_path
    )
    assert code == 0, errors
    assert (tmp_path / "look.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "override, words",
    [
        ("data.stride=8", "`data.stride` must be at most `data.window`"),
        ("data.short_side=4096", "`data.long_side` must be at least"),
        ("augment.scale=[2, 1]", "the least first"),
        ("model.backbone=tiny", "`model.backbone` fixes embed_dim"),
        ("model.depths=null", "`model.depths` is missing"),
        ("optimizer.layer_decay=0.9", "layer_decay` must be 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(recipe, override, words):
    with pytest.raises(ValueError, match=words):
        read_config(recipe, [override])


def test_a_model_of_another_number_of_classes_is_not_measured(recipe):
    task = open_task(read_config(recipe))
    network = task.network()
    ((inputs, _, _),) = evaluation_batches(task, batch_size=5)
    task.predict(network, inputs)
    task.use_classes([*task.names, "fog"], "m.keras")
    with pytest.raises(
        ValueError, match="^the model has 4 classes, of which 5"
    ):
        task.predict(network, inputs)


@pytest.mark.parametrize("name", ["segmentation", "segmentation_finetune"])
def test_recipes_are_read(name):
    config = read_config(name)
    assert config.model.backbone == "tiny"
    if name == "segmentation":
        assert config.optimizer.learning_rate == 6e-5
        assert config.epochs * 1263 == pytest.approx(160_000, rel=0.01)


@pytest.mark.slow
def test_a_classifier_for_other_classes_keeps_the_rest(
    dataset, recipe, tmp_path
):
    config = read_config(recipe)
    network = open_task(config).network()
    network.save(tmp_path / "base.keras")
    sets = [f"model.{k}=null" for k in ("embed_dim", "depths", "num_heads")]
    sets += ["model.mlp_ratio=null", f"model.weights={tmp_path}/base.keras"]
    config = read_config(recipe, sets)
    from gcvit_training.tasks.segmentation.network import build_network

    same, other = build_network(config, 4), build_network(config, 6)
    for a, b in zip(network.weights, same.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    images = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    assert other(images).shape[-1] == 6
    features = network.decode_head(network.backbone(images))
    np.testing.assert_array_equal(
        features, other.decode_head(other.backbone(images))
    )


@pytest.mark.parametrize(
    "override, right",
    [
        ("auxiliary=false", "auxiliary=true"),
        ("channels=16", "channels=8"),
        ("dropout=0.3", "dropout=0.1"),
        ("drop_path_rate=0.2", "drop_path_rate=0.0"),
        ("backbone=tiny", "backbone=null"),
    ],
)
def test_settings_of_another_model_than_the_file_s_are_refused(
    recipe, tmp_path, override, right
):
    open_task(read_config(recipe)).network().save(tmp_path / "base.keras")
    names = ("embed_dim", "depths", "num_heads", "mlp_ratio")
    sets = [f"model.{name}=null" for name in names]
    sets += [f"model.weights={tmp_path}/base.keras", f"model.{override}"]
    task = open_task(read_config(recipe, sets))
    with pytest.raises(ValueError, match=rf"base.keras: {right}\. Received: "):
        task.network()


@pytest.mark.slow
def test_a_nano_segmenter_learns_shapes(tmp_path):
    data = tmp_path / "scenes"
    scenes.write(data, {"train": 128, "val": 12})
    (tmp_path / "recipe.yaml").write_text(
        yaml.dump({**RECIPE, "data": {**RECIPE["data"], "dataset": str(data)}})
    )
    config = read_config(
        tmp_path / "recipe.yaml",
        [
            "epochs=8",
            "data.crop_size=64",
            "data.largest_side=64",
            "data.batch_size=8",
            "augment.class_share=1",
            "model.embed_dim=16",
            "model.channels=32",
            "model.auxiliary=false",
            "model.dropout=0",
            "optimizer.learning_rate=4e-3",
        ],
    )
    train(config, tmp_path / "run", verbose=0)
    result = write_report(config, tmp_path / "run")
    background = result["per_class"][0]
    pixels = sum(row["pixels"] for row in result["per_class"])
    assert result["pixel_accuracy"] > background["pixels"] / pixels + 0.02
    assert keras.models.load_model(tmp_path / "run" / "model.keras")
