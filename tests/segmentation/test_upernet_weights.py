"""Checkpoints of mmsegmentation load into a segmenter, strictly."""

import numpy as np
import pytest
from loopback import torch_file
from safetensors.numpy import load_file, save_file
from segmenters import Reference, close, small

from gcvit_keras import find_preset
from gcvit_keras.segmentation import UPerNet
from gcvit_keras.weights.mmseg import segmenter_variables


@pytest.fixture(scope="module")
def reference():
    return Reference()


@pytest.fixture(scope="module")
def tensors(reference):
    return load_file(reference.weights)


def test_every_tensor_of_mmsegmentation_has_its_variable(reference, tensors):
    variables = segmenter_variables(reference.model(weights=None))
    assert variables.keys() == tensors.keys()


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "nan"])
def test_a_checkpoint_that_does_not_fit_changes_nothing(
    reference, tensors, tmp_path, change
):
    key = "decode_head.fpn_convs.1.bn.weight"
    changed = dict(tensors)
    if change == "missing":
        del changed[key]
    elif change == "unexpected":
        changed["decode_head.other.weight"] = changed[key]
    elif change == "shape":
        changed[key] = np.ones(3, "float32")
    else:
        changed[key] = np.full_like(changed[key], np.nan)
    save_file(changed, tmp_path / "changed.safetensors")
    with pytest.raises(ValueError, match="Nothing was loaded") as raised:
        reference.model(weights=tmp_path / "changed.safetensors")
    assert ("other" if change == "unexpected" else key) in str(raised.value)


def test_a_model_without_auxiliary_head_leaves_it_out_and_says_so(
    reference, capsys
):
    model = reference.model(auxiliary=False)
    assert "loaded without its auxiliary head" in capsys.readouterr().err
    close(model(reference.io["input"]), reference.io["decode_logits"])


def test_a_set_of_weights_is_chosen_by_its_name(reference, tensors, tmp_path):
    path = tmp_path / "iter_160000.pth"
    path.write_bytes(torch_file({"state_dict": tensors}))
    model = reference.model(weights=f"{path}#state_dict")
    close(model(reference.io["input"]), reference.io["decode_logits"])


@pytest.mark.parametrize("weights", [0, find_preset("tiny", "imagenet")])
def test_what_is_no_file_is_refused(reference, weights):
    with pytest.raises(ValueError, match="`weights` must be .* Received: weig"):
        reference.model(weights=weights)


def test_other_classes_are_refused(reference):
    backbone = reference.model(weights=None).backbone
    with pytest.raises(ValueError, match="conv_seg"):
        UPerNet(backbone, 5, channels=32, weights=reference.weights)


def test_weights_of_keras_load(tmp_path):
    model = small()
    model.save_weights(tmp_path / "model.weights.h5")
    other = small(weights=tmp_path / "model.weights.h5")
    images = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    np.testing.assert_array_equal(other(images), model(images))
