"""Checkpoints of mmdet and of the classifiers load into detectors, strictly."""

import gzip
import json
import math

import numpy as np
import pytest
from loopback import torch_file
from reference import FOLDER, OWN
from safetensors.numpy import load_file, save_file

from gcvit_keras import GCViTBackbone, find_preset
from gcvit_keras.detection import CascadeMaskRCNN, MaskRCNN
from gcvit_keras.weights.mmdet import detector_variables

PUBLISHED = [
    ("mask_rcnn_tiny", MaskRCNN, "tiny"),
    pytest.param(
        "cascade_tiny", CascadeMaskRCNN, "tiny", marks=pytest.mark.slow
    ),
    pytest.param(
        "cascade_small", CascadeMaskRCNN, "small", marks=pytest.mark.slow
    ),
    pytest.param(
        "cascade_base", CascadeMaskRCNN, "base", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("name, detector_class, variant", PUBLISHED)
def test_published_sizes_keys_and_shapes(name, detector_class, variant):
    """The four detectors of the paper, to the last parameter."""
    model = detector_class(variant, backbone_weights=None)
    facts = json.loads((FOLDER / "detector_facts.json").read_text())
    parts = {
        "backbone": [model.backbone],
        "neck": [model.neck],
        "rpn_head": [model.rpn_head],
        "roi_head": [*model.box_heads, *model.mask_heads],
        "total": [model],
    }
    assert facts[name]["parameters"] == {
        part: sum(
            math.prod(variable.shape)
            for layer in layers
            for variable in layer.trainable_variables
        )
        for part, layers in parts.items()
    }
    with gzip.open(FOLDER / "detector_keys.json.gz") as file:
        keys = json.load(file)[name]
    buffers = ("relative_position_index", "num_batches_tracked")
    shapes = {
        key: sorted(facts["shape"])
        for key, facts in keys.items()
        if not key.endswith(buffers)
    }
    variables = detector_variables(model)
    assert set(variables) == set(shapes)
    for key, variable in variables.items():
        # A flattened region, and axes in another order.
        assert math.prod(variable.shape) == math.prod(shapes[key]), key
        if len(variable.shape) == len(shapes[key]):
            assert sorted(variable.shape) == shapes[key], key


@pytest.fixture(scope="module")
def tensors(reference):
    return load_file(reference.weights)


@pytest.mark.torch
def test_a_pth_of_mmdet_loads_as_safetensors_do(
    reference, detector, tensors, tmp_path
):
    torch = pytest.importorskip("torch")
    state = {k: torch.from_numpy(v) for k, v in tensors.items()}
    state["backbone.levels.0.blocks.0.attn.relative_position_index"] = (
        torch.zeros((144, 144), dtype=torch.int64)
    )
    if reference.stages == 3:
        key = "roi_head.bbox_head.0.shared_convs.0.bn.num_batches_tracked"
        state[key] = torch.tensor(7)
    path = tmp_path / "epoch_36.pth"
    meta = {"epoch": 36, "CLASSES": ("cat", "dog"), "mmdet_version": "2.19.0"}
    torch.save({"meta": meta, "state_dict": state, "optimizer": {}}, path)
    model = reference.model(weights=path)
    for computed, expected in zip(
        model.get_weights(), detector.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(computed, expected)


def test_a_set_of_weights_is_chosen_by_its_name(
    reference, tensors, tmp_path, capsys
):
    """MMEngine's EMAHook puts the averages into `state_dict`."""
    raw = {f"module.{k}": v + 1 for k, v in tensors.items()}
    raw["steps"] = np.array(7)
    path = tmp_path / "epoch_36.pth"
    tree = {"state_dict": tensors, "ema_state_dict": raw}
    path.write_bytes(torch_file(tree))
    key = "rpn_head.rpn_cls.bias"
    for name in ("", "#state_dict", "#ema_state_dict"):
        model = reference.model(weights=f"{path}{name}")
        expected = raw[f"module.{key}"] if "ema" in name else tensors[key]
        np.testing.assert_array_equal(model.rpn_head.objectness.bias, expected)
        said = capsys.readouterr().err
        assert ("loaded `state_dict`, not `ema_state" in said) == (not name)


@pytest.mark.parametrize("weights", [0, find_preset("tiny", "imagenet")])
def test_what_is_no_file_is_refused(reference, weights):
    with pytest.raises(ValueError, match="`weights` must be .* Received: weig"):
        reference.model(weights=weights)


def damaged(tensors, how):
    tensors = dict(tensors)
    if how == "missing":
        del tensors["neck.fpn_convs.2.conv.bias"]
    elif how == "unexpected":
        tensors["rpn_head.rpn_cls_2.weight"] = np.zeros(3, "float32")
    elif how == "another shape":
        key = "rpn_head.rpn_reg.weight"
        tensors[key] = tensors[key][:8]
    return tensors


@pytest.mark.parametrize("how", ["missing", "unexpected", "another shape"])
def test_a_checkpoint_that_does_not_fit_is_refused(
    reference, tensors, tmp_path, how
):
    path = tmp_path / "damaged.safetensors"
    save_file(damaged(tensors, how), path)
    with pytest.raises(ValueError, match=how) as error:
        reference.model(weights=path)
    assert "Nothing was loaded" in str(error.value)


def test_the_classifier_s_checkpoint_is_no_detector_s(reference, tmp_path):
    path = OWN.parent / "reference" / "official_nano.safetensors"
    with pytest.raises(ValueError):
        reference.model(weights=path)


def test_a_classifier_s_checkpoint_fills_the_backbone(xxtiny):
    """Every tensor but the head; position tables resized to windows of 24."""
    classifier, folder = xxtiny
    model = MaskRCNN(
        "xxtiny", 3, backbone_weights=folder / "official.safetensors"
    )
    source = {v.path: v for v in classifier.weights}
    tables = 0
    for variable in model.backbone.weights:
        if variable.path.startswith(("preprocessing", "level_")) and (
            "_norm/" in variable.path and "block" not in variable.path
        ):
            continue
        if variable.path not in source:
            assert "seed_generator" in variable.path or (
                variable.path.startswith("level_3_query")
            ), variable.path
            continue
        if variable.path.endswith("relative_position_bias_table"):
            tables += 1
            assert variable.shape[0] == 47**2
            _assert_resized(source[variable.path], variable)
        else:
            np.testing.assert_array_equal(variable, source[variable.path])
    assert tables == 12


def _assert_resized(table, resized):
    torch = pytest.importorskip("torch")
    side = math.isqrt(table.shape[0])
    grid = torch.from_numpy(np.array(table)).T.reshape(1, -1, side, side)
    expected = torch.nn.functional.interpolate(
        grid, size=(47, 47), mode="bicubic", align_corners=False
    )
    expected = expected.reshape(-1, 47**2).T.numpy()
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-6)


def test_position_tables_of_other_windows_are_resized(reference):
    size = reference.facts["backbone"]
    backbone = GCViTBackbone(
        embed_dim=size["dim"],
        depths=size["depths"],
        num_heads=size["num_heads"],
        mlp_ratio=size["mlp_ratio"],
        layer_scale=1e-5 if size["layer_scale"] else None,
        window_size=(7, 7, 7, 7),
        query_pools=(3, 2, 1, 0),
        level_norms=True,
    )
    model = reference.detector_class(
        backbone, 5, weights=reference.weights, fpn_channels=32, fc_channels=64
    )
    table = model.backbone.get_layer("level_0_block_0").attention
    assert table.relative_position_bias_table.shape == (169, 1)
