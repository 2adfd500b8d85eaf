"""Checkpoints as people have them: prefixes, nesting, averages, formats."""

import json

import keras
import ml_dtypes
import numpy as np
import pytest
from loopback import torch_file
from nano import NANO, REFERENCE
from safetensors.numpy import load_file, save_file

import gcvit_keras

WEIGHTS = {
    key: value
    for key, value in load_file(REFERENCE / "official_nano.safetensors").items()
    if value.dtype == "float32"
}
AVERAGES = {key: value + np.float32(0.125) for key, value in WEIGHTS.items()}


@pytest.fixture(scope="module")
def model():
    """One nano, which every test loads anew."""
    return gcvit_keras.GCViT(**NANO)


def prefixed(prefix, tensors=WEIGHTS):
    return {prefix + key: value for key, value in tensors.items()}


def check(model, path, expected=WEIGHTS):
    """Loads a file over zeros and compares all weights."""
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    gcvit_keras.load_weights(model, path)
    found = np.concatenate([np.ravel(w) for w in model.get_weights()])
    right = np.concatenate([np.ravel(v) for v in expected.values()])
    np.testing.assert_array_equal(np.sort(found), np.sort(right))
    np.testing.assert_array_equal(
        model.get_layer("predictions").kernel, expected["head.weight"].T
    )


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "backbone.", "_orig_mod.", "module._orig_mod.net."],
)
def test_a_common_prefix_is_left_out_in_every_format(model, tmp_path, prefix):
    save_file(prefixed(prefix), tmp_path / "x.safetensors")
    check(model, tmp_path / "x.safetensors")
    (tmp_path / "x.pth").write_bytes(torch_file(prefixed(prefix)))
    check(model, tmp_path / "x.pth")


@pytest.mark.parametrize(
    "name",
    ["state_dict", "model", "model_state_dict", "net", "params", "ema", "best"],
)
def test_weights_are_found_in_any_dict(model, tmp_path, capsys, name):
    tree = {name: prefixed("model."), "optimizer": {"state": {"a": np.ones(3)}}}
    (tmp_path / "x.ckpt").write_bytes(torch_file(tree))
    check(model, tmp_path / "x.ckpt")
    assert capsys.readouterr().err == ""  # there was nothing to choose


@pytest.mark.parametrize(
    "kind, name",
    [
        ("zip", "weights.pt"),
        ("zip", "weights"),
        ("legacy", "weights.bin"),
        ("legacy", "weights.safetensors"),
        ("safetensors", "weights.ckpt"),
        ("keras", "weights.pth"),
    ],
)
def test_files_are_recognised_by_content(model, tmp_path, kind, name):
    path = tmp_path / name
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    elif kind == "keras":
        gcvit_keras.load_weights(model, REFERENCE / "official_nano.safetensors")
        model.save_weights(tmp_path / "x.weights.h5")
        (tmp_path / "x.weights.h5").rename(path)
    else:
        path.write_bytes(torch_file(WEIGHTS, legacy=kind == "legacy"))
    check(model, path)


def test_a_file_without_suffix_is_no_name_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file({"a": np.ones(1)}, tmp_path / "mine")
    with pytest.raises(ValueError, match="mine holds no weights of this kind"):
        gcvit_keras.GCViTXXTiny(weights="mine")


@pytest.mark.parametrize(
    "plain, averaged",
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("net", "ema"),
        ("params", "params_ema"),
    ],
)
def test_averages_are_taken_and_said(model, tmp_path, capsys, plain, averaged):
    path = tmp_path / "best.pth.tar"
    tree = {plain: prefixed("module."), averaged: prefixed("", AVERAGES)}
    path.write_bytes(torch_file(tree))
    check(model, path, AVERAGES)
    said = capsys.readouterr().err
    assert f"loaded `{averaged}` (EMA), not `{plain}.module`" in said
    assert f"{path}#{plain}.module loads that" in said


def test_the_user_chooses_another_set(model, tmp_path, capsys):
    path = tmp_path / "best#3.pth.tar"
    tree = {"state_dict": WEIGHTS, "state_dict_ema": AVERAGES}
    path.write_bytes(torch_file(tree))
    check(model, f"{path}#state_dict")
    assert capsys.readouterr().err == ""
    check(model, f"{path}#state_dict_ema", AVERAGES)
    check(model, path, AVERAGES)
    built = gcvit_keras.GCViT(**NANO, weights=f"{path}#state_dict")
    np.testing.assert_array_equal(
        built.get_layer("norm").beta, WEIGHTS["norm.bias"]
    )
    with pytest.raises(ValueError, match="#state holds no weights"):
        check(model, f"{path}#state")


def test_averages_beside_weights_in_one_flat_file(model, tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = prefixed("model.") | prefixed("model_ema.module.", AVERAGES)
    save_file(tensors, path)
    check(model, path, AVERAGES)
    check(model, f"{path}#model")


def test_timm_s_order_of_the_dicts_is_kept(model, tmp_path):
    """state_dict_ema, model_ema, state_dict, model."""
    path = tmp_path / "x.pth"
    path.write_bytes(torch_file({"model": AVERAGES, "state_dict": WEIGHTS}))
    check(model, path)
    tree = {"model_ema": WEIGHTS, "state_dict_ema": AVERAGES}
    path.write_bytes(torch_file(tree))
    check(model, path, AVERAGES)


@pytest.mark.torch
def test_timm_takes_the_same(model, tmp_path):
    models = pytest.importorskip("timm.models")
    path = tmp_path / "x.pth"
    for names in (
        ("state_dict", "state_dict_ema"),
        ("model_ema", "model"),
        ("model_ema", "state_dict", "state_dict_ema", "model"),
        ("model", "state_dict"),
    ):
        tree = {
            name: {key: value + np.float32(i) for key, value in WEIGHTS.items()}
            for i, name in enumerate(names)
        }
        path.write_bytes(torch_file(tree))
        state = models.load_state_dict(str(path), weights_only=True)
        check(model, path, {key: value.numpy() for key, value in state.items()})


def test_sets_that_nothing_tells_apart_are_named(model, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(torch_file({"student": WEIGHTS, "teacher": AVERAGES}))
    with pytest.raises(
        ValueError, match="Choose one of .*x.pth#student, .*#te"
    ):
        check(model, path)
    check(model, f"{path}#teacher", AVERAGES)


def test_a_tensor_beside_the_prefix_is_one_too_many(model, tmp_path):
    tensors = prefixed("model.") | {"loss.weight": np.ones(3, "float32")}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="1 unexpected .loss.weight"):
        check(model, tmp_path / "x.safetensors")


@pytest.mark.parametrize("counter", ["n_averaged", "steps"])
@pytest.mark.parametrize(
    "outer, inner", [("", ""), ("averages.", ""), ("", "_orig_mod.")]
)
def test_how_often_averages_were_updated_is_no_weight(
    model, tmp_path, counter, outer, inner
):
    """PyTorch's AveragedModel, MMEngine's BaseAveragedModel."""
    tensors = prefixed(f"{outer}module.{inner}")
    tensors[f"{outer}{counter}"] = np.ones(())
    (tmp_path / "x.pth").write_bytes(torch_file(tensors))
    check(model, tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_several_files_load_by_their_index(model, tmp_path, kind):
    places = {}
    for i in range(3):
        part = dict(list(WEIGHTS.items())[i::3])
        name = f"model-{i + 1:05d}-of-00003.{kind}"
        places |= dict.fromkeys(part, name)
        if kind == "bin":
            (tmp_path / name).write_bytes(torch_file(part))
        else:
            save_file(part, tmp_path / name)
    index = tmp_path / f"model.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    check(model, index)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} cannot be read: No such"):
        check(model, index)
    for broken, words in (
        ({"a": 1}, "no index of a checkpoint"),
        ([], "begins with"),
        ({"weight_map": {"a": "../secret"}}, "not beside it"),
    ):
        index.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=words):
            check(model, index)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_8_bit_floats_load(model, tmp_path, dtype):
    """By PyTorch's own files in test_torch_file.py, too."""
    small = {
        key: value.astype(getattr(ml_dtypes, dtype))
        for key, value in WEIGHTS.items()
    }
    header, content = {}, b""
    names = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
    for key, value in small.items():
        end = len(content) + value.nbytes
        header[key] = {
            "dtype": names[dtype],
            "shape": value.shape,
            "data_offsets": [len(content), end],
        }
        content += value.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    check(model, path, {k: v.astype("float32") for k, v in small.items()})


def test_a_whole_keras_model_is_no_checkpoint(model, tmp_path):
    keras.Model(model.input, model.output).save(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="keras.models.load_model reads it"):
        gcvit_keras.load_weights(model, tmp_path / "x.keras")


@pytest.mark.parametrize(
    "entry, words",
    [
        (
            {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
            "invalid shape",
        ),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "not fully"),
        (
            {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]},
            "not read",
        ),
        (
            {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]},
            "value: inte",
        ),
        ({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "not fully"),
        ({"dtype": "F32"}, "missing field"),
    ],
)
def test_claims_of_a_safetensors_header_are_checked(
    model, tmp_path, entry, words
):
    text = json.dumps({"norm.bias": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ValueError, match=words):
        gcvit_keras.load_weights(model, path)
