"""Detectors go through the engine: trained, killed, gone on, measured."""

import json

import composites
import numpy as np
import pytest
import yaml
from harness import (
    finish,
    goes_through,
    last,
    metrics,
    start_command,
    start_workers,
    train_arguments,
)

from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN
from gcvit_training import read_config, train
from gcvit_training.tasks import open_task
from gcvit_training.tasks.detection.network import build_network, not_decayed

NANO = {
    "task": "detection",
    "seed": 3,
    "epochs": 2,
    "strategy": "one_device",
    "data": {
        "train_split": "train",
        "evaluation_split": "val",
        "batch_size": 4,
        "short_side": 64,
        "long_side": 96,
        "max_objects": 4,
        "mask_cells": 28,
    },
    "augment": {"policy": "resize", "short_sides": [64], "long_side": 96},
    "optimizer": {"learning_rate": 1e-3},
    "model": {
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 1, 1],
        "mlp_ratio": 1,
        "window_size": [4, 4, 4, 4],
        "fpn_channels": 8,
        "fc_channels": 8,
        "drop_path_rate": 0.2,
    },
}
PARTS = ("rpn_cls", "rpn_box", "cls", "box", "mask")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    composites.write(folder / "data", {"train": 12, "val": 5})
    NANO["data"]["dataset"] = str(folder / "data")
    (folder / "recipe.yaml").write_text(yaml.dump(NANO))
    return folder / "recipe.yaml"


@pytest.mark.slow
def test_a_detector_goes_through(recipe, tmp_path):
    config = read_config(
        recipe,
        ["deterministic=true", "optimizer.ema=0.9", "checkpoint_steps=2"],
    )
    # A kill in an evaluation is the engine's: see the autoencoder's.
    out, model, result = goes_through(config, tmp_path, kill_at=(5,))
    assert isinstance(model, MaskRCNN)
    rows = metrics(out)
    assert {*PARTS, "loss", "val_box_ap", "val_mask_ap50"} <= set(rows[0])
    for row in rows:
        total = sum(float(row[name]) for name in PARTS)
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    assert float(rows[-1]["val_box_ap"]) == pytest.approx(result["box"]["ap"])
    assert result["images"] == 5 and result["objects"] > 5
    assert (out / "labels.txt").read_text() == "0\n1\n4\n"
    for kind in ("bbox", "segm"):
        found = json.loads((out / f"detections.{kind}.json").read_text())
        assert len(found) == result["detections"]
    events = b"".join(p.read_bytes() for p in out.glob("logs/train/events*"))
    assert all(f"epoch_{name}".encode() in events for name in PARTS)


@pytest.mark.slow
def test_replicas_and_workers_train_as_one_device(recipe, tmp_path):
    """Six steps, by the command where there are several.

    Of a cascade: a Mask R-CNN is one of a single stage.
    """
    overrides = [
        "epochs=1",
        "data.batch_size=2",
        "model.drop_path_rate=0.0",
        "deterministic=true",
        # Adam makes a step of the rate of any noise about 0.
        "optimizer.epsilon=1e-3",
        "optimizer.learning_rate=1e-4",
        "model.detector=cascade_mask_rcnn",
    ]

    def run(name, strategy):
        return train_arguments(
            recipe, tmp_path / name, *overrides, f"strategy={strategy}"
        )

    two = start_command(*run("two", "mirrored"))
    # Without a report: in the time of the other.
    config = read_config(recipe, [*overrides, "strategy=one_device"])
    train(config, tmp_path / "one", verbose=0)
    finish(two)
    finish(*start_workers(*run("workers", "multi_worker")))
    (expected,) = metrics(tmp_path / "one")
    names = [n for n in expected if n[:4] != "val_"]
    assert len(names) == 14
    weights = last(tmp_path / "one")
    for many in ("two", "workers"):
        (found,) = metrics(tmp_path / many)
        for name in names:
            close = pytest.approx(float(expected[name]), abs=1e-5)
            assert float(found[name]) == close, (many, name)
        others = last(tmp_path / many)
        for name, value in weights.items():
            if name.startswith("network/"):
                np.testing.assert_allclose(
                    others[name], value, atol=1e-5, err_msg=f"{many} {name}"
                )


def test_published_recipes_are_those_of_the_official_files(recipe):
    data = [f"data.dataset={recipe.parent / 'data'}"]
    for name, kind in (("mask_rcnn", 1), ("cascade_mask_rcnn", 3)):
        config = read_config(name, data)
        o, a = config.optimizer, config.augment
        assert config.model.detector == name and config.epochs == 36
        assert (o.learning_rate, o.weight_decay, o.gradient_norm) == (
            1e-4,
            0.05,
            None,
        )
        assert (o.beta_1, o.beta_2) == (0.9, 0.999)
        assert (o.schedule, o.decay_epochs) == ("steps", (27, 33))
        assert (o.warmup_steps, o.warmup_factor) == (2500, 0.001)
        assert a.policy == "paper" and a.flip == 0.5
        assert a.short_sides == tuple(range(480, 801, 32))
        assert config.model.drop_path_rate == 0.2
        assert config.model.window_size == (24,) * 4
        assert len(config.buckets) > 2 * kind and config.canvas == (1344, 1344)
        assert (config.data.short_side, config.data.long_side) == (800, 1333)


@pytest.mark.parametrize("detector", ["mask_rcnn", "cascade_mask_rcnn"])
@pytest.mark.parametrize("decay", ["meant", "as_run"])
def test_what_is_not_decayed_is_what_the_rules_match(recipe, detector, decay):
    config = read_config(
        recipe,
        [f"model.detector={detector}", "model.depths=[1, 2, 1, 1]"],
    )
    network = build_network(config, 3)
    left_out = {id(v) for v in not_decayed(network, decay)}
    cascade = isinstance(network, CascadeMaskRCNN)
    seen = set()
    for variable in network.trainable_variables:
        path = variable.path.lower()
        if "relative_position_bias_table" in path:
            kind, expected = "table", decay == "meant" or cascade
        elif "gamma" in path or "beta" in path:
            in_head = "box_head" in path
            kind = "batch norm" if in_head else "norm"
            expected = decay == "meant" or not in_head
        else:
            kind, expected = path.rsplit("/")[-1], False
        seen.add(kind)
        assert (id(variable) in left_out) == expected, variable.path
    assert seen == {"table", "norm", "kernel", "bias"} | (
        {"batch norm"} if cascade else set()
    )


def test_only_the_heads_learn_while_the_backbone_is_frozen(recipe):
    config = read_config(recipe)
    network = build_network(config, 3)
    task = open_task(config)
    frozen = {v.path for v in task.frozen(network)}
    assert frozen and not any("backbone" in path for path in frozen)
    rest = {v.path for v in network.trainable_variables} - frozen
    assert rest == {v.path for v in network.backbone.trainable_variables}


def test_parts_of_a_batch_are_for_one_replica(recipe):
    task = open_task(read_config(recipe, ["optimizer.accumulate=2"]))
    task.check_replicas(4)
    with pytest.raises(ValueError, match="`optimizer.accumulate` must be 1"):
        task.check_replicas(2)


@pytest.mark.parametrize(
    "override, message",
    [
        ("jit_compile=true", "jit_compile: Input should be False"),
        ("data.cache=memory", "`data.cache` must be null for this task"),
        ("data.buckets=[[64, 70]]", "`data.buckets` must be multiples of 32"),
        ("data.buckets=[[64, 96]]", "one of 96 x 96 at least"),
        ("optimizer.layer_decay=0.9", "`optimizer.layer_decay` must be 1"),
        ("model.backbone=tiny", "`model.backbone` fixes embed_dim"),
        ("augment.crop_sides=[90, 60]", "augment.crop_sides: must be two"),
        ("augment.long_side=32", "`augment.long_side` must be at least"),
    ],
)
def test_settings_that_do_not_fit_are_refused(recipe, override, message):
    with pytest.raises(ValueError, match=message):
        read_config(recipe, [override])
