"""Files of torch.save, read without PyTorch.

The files in tests/data/torch were written by PyTorch 2.13 (make.py there).
"""

import os
import pickle
import resource
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from loopback import torch_file
from nano import REFERENCE
from safetensors.numpy import load_file

from gcvit_keras import load_weights
from gcvit_keras.weights import open_checkpoint
from gcvit_keras.weights.torch_file import read_torch_file

FILES = Path(__file__).parent.parent / "data" / "torch"
BASE = np.arange(24, dtype="float32") / np.float32(7)


def read(path):
    """A saved dict of tensors as arrays."""
    return {
        k: np.asarray(tensor) for k, tensor in read_torch_file(path).items()
    }


def refused(path, words):
    """The error of a user's load, which reads to the last number."""
    with pytest.raises(ValueError, match=words) as error:
        for tensor in open_checkpoint(path, ["bias"])[0].values():
            np.asarray(tensor)
    assert str(path) in str(error.value)


@pytest.mark.torch
@pytest.mark.parametrize("legacy", [False, True])
def test_the_tests_own_files_are_those_of_torch(tmp_path, legacy):
    """loopback.torch_file writes what other tests load."""
    torch = pytest.importorskip("torch")
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(4)}
    path = tmp_path / "x.pth"
    path.write_bytes(torch_file({"model": arrays}, legacy))
    for key, tensor in torch.load(path)["model"].items():
        np.testing.assert_array_equal(tensor.numpy(), arrays[key])


def test_weights_and_a_training_checkpoint_of_them_are_found():
    """The second nests two sets beside an optimizer, with module. prefixes."""
    expected = {
        "patch_embed.proj.weight": np.arange(72, dtype="float32") / 7,
        "norm.bias": np.arange(5, dtype="float32") / 3,
        "levels.0.index": np.arange(6),
    }
    training = f"{FILES / 'training.pth.tar'}"
    for path, sign in (
        (FILES / "weights.pth", 1),
        (training, -1),
        (f"{training}#state_dict", 1),
    ):
        tensors, _ = open_checkpoint(path, ["patch_embed.proj.weight"])
        assert set(tensors) == set(expected)
        for key, value in expected.items():
            found = np.asarray(tensors[key])
            assert found.dtype == value.dtype
            np.testing.assert_allclose(found.ravel(), sign * value, rtol=1e-7)


@pytest.mark.parametrize("name", ["odd.pth", "odd_legacy.pth"])
def test_every_type_and_stride_reads_bit_exactly(name):
    tensors = read(FILES / name)
    dtypes = {
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float32": np.float32,
        "float64": np.float64,
        "int64": np.int64,
    }
    if name == "odd.pth":
        dtypes["float8_e4m3fn"] = ml_dtypes.float8_e4m3fn
        dtypes["float8_e5m2"] = ml_dtypes.float8_e5m2
    for key, dtype in dtypes.items():
        assert tensors[key].dtype == dtype
        np.testing.assert_array_equal(tensors[key], BASE.astype(dtype))
    for key, expected in (
        ("transposed", BASE.reshape(4, 6).T),
        ("strided", BASE[1::3]),
        ("shared", BASE[5:11].reshape(2, 3)),
        ("scalar", np.float32(3.5)),
        ("empty", np.zeros((0, 3), "float32")),
        ("parameter", BASE[:4]),
    ):
        np.testing.assert_array_equal(tensors[key], expected)


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_now_reads_bit_exactly(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(4, 5)).sum().backward()
    optimizer.step()
    state = {
        **net.state_dict(),
        "half": torch.randn(7).half(),
        "brain": torch.randn(7).bfloat16(),
        "double": torch.randn(7).double(),
        "turned": torch.randn(3, 4).T,
        "view": torch.randn(30)[3:27:2].reshape(3, 4),
    }
    if zipped:  # PyTorch itself refuses them in the old format
        state["eight"] = torch.randn(7).to(torch.float8_e4m3fn)
    whole = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3}
    for saved in (state, whole):
        torch.save(
            saved, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped
        )
        found, _ = open_checkpoint(tmp_path / "x.pth", ["0.weight"])
        assert list(found) == list(state)
        for key, value in state.items():
            array = np.asarray(found[key])
            assert str(array.dtype) == str(value.dtype).split(".")[1]
            np.testing.assert_array_equal(
                array.astype("float64"), value.double().numpy(), strict=False
            )


def write(path, content, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", content)
        for name, data in storages:
            archive.writestr(f"x/data/{name}", data)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        lambda call: call,
        lambda call: {"state_dict": {"a": call}},
        lambda call: {"optimizer": [call], "state_dict": {}},
        lambda call: {"state_dict": {"a": 1}, "args": {call: call}},
    ],
)
def test_nothing_that_a_pickle_names_is_called(tmp_path, place, legacy):
    mark = tmp_path / "called"
    for function in (os.system, os.mkdir, exec):
        argument = f"touch {mark}" if function is os.system else str(mark)
        if function is exec:
            argument = f"open({str(mark)!r}, 'w')"
        content = pickle.dumps(place(Call(function, argument)))
        write(tmp_path / "x.pth", content)
        if legacy:
            whole = torch_file({}, legacy=True)
            whole = whole.replace(b"\x80\x02}.", content)
            assert content in whole
            (tmp_path / "x.pth").write_bytes(whole)
        refused(tmp_path / "x.pth", "It holds")
        assert not mark.exists()


def test_what_stands_where_a_tensor_belongs_is_named(tmp_path):
    content = {"state_dict": {"norm.bias": Call(os.getcwd)}}
    write(tmp_path / "x.pth", pickle.dumps(content))
    refused(tmp_path / "x.pth", "at 'state_dict.norm.bias', where")


def test_other_files_are_refused_by_what_they_are(tmp_path):
    path = tmp_path / "x.pth"
    refused(path, "cannot be read: No such file")
    for content, words in (
        (b"", "it is empty. Accepted are files of torch.save"),
        (b"text", "it begins with b'text'. Accepted"),
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a page of HTML"),
        (b"PK\x03\x04 broken", "cannot be read as a zip archive"),
        (pickle.dumps({"a": 1}, 2), "a pickle, but not one of torch.save"),
    ):
        path.write_bytes(content)
        refused(path, words)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    refused(path, "not one of torch.save")
    write(path, pickle.dumps([1, 2]))
    refused(path, r"It holds one list: save model.state_dict\(\) instead")
    write(path, pickle.dumps({"a": 3}))
    refused(path, r"no key in it ends in `bias`. It holds a \(int\)")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep, legacy):
    whole = torch_file({"bias": np.ones(10**5), "a": np.ones(10**5)}, legacy)
    (tmp_path / "x.pth").write_bytes(whole[: int(keep * len(whole))])
    refused(tmp_path / "x.pth", "cut off" if legacy else "cannot be read")


def test_damage_at_the_end_leaves_the_model_as_it_was(nano, tmp_path):
    """Weights are read one by one; the last must not be found out last."""
    path = tmp_path / "x.pth"
    tensors = load_file(REFERENCE / "timm_nano.safetensors")
    damaged = bytearray(torch_file(tensors))
    path.write_bytes(damaged)
    with zipfile.ZipFile(path) as archive:
        infos = [i for i in archive.infolist() if "/data/" in i.filename]
    last = max(infos, key=lambda info: info.header_offset)
    damaged[last.header_offset + 200] ^= 0xFF  # the header takes less
    path.write_bytes(damaged)
    model = nano(se_divisor=8)
    before = model.get_weights()
    with pytest.raises(ValueError, match="x.pth is damaged: .* another CRC"):
        load_weights(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_pickle_is_one_error(tmp_path, legacy):
    tensors = {"bias": np.ones((2, 3)), "norm": {"weight": np.ones(4)}}
    whole = torch_file({"state_dict": tensors, "optimizer": tensors}, legacy)
    start = whole.index(b"\x80\x02}X")
    end = whole.index(b"s.", start)
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(whole)
        for at in rng.integers(start, end, 3):
            broken[at] = rng.integers(0, 256)
        if legacy:
            (tmp_path / "x.pth").write_bytes(broken)
        else:
            write(tmp_path / "x.pth", bytes(broken[start : end + 2]))
        try:
            read_torch_file(tmp_path / "x.pth")
        except ValueError as error:
            assert "x.pth" in str(error)


def test_a_zip_bomb_is_refused_unpacked(tmp_path):
    zeros = bytes(50 * 2**20)
    write(
        tmp_path / "x.pth",
        pickle.dumps({}),
        [("0", zeros)],
        zipfile.ZIP_DEFLATED,
    )
    assert (tmp_path / "x.pth").stat().st_size < 100_000
    refused(tmp_path / "x.pth", "compressed")


def claim(offset, shape, strides, key="0", kind="FloatStorage"):
    """A pickle of {'bias': tensor}; its storage holds four floats."""

    def integers(values):
        return b"(" + b"".join(b"I%d\n" % v for v in values) + b"t"

    return (
        b"(dS'bias'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\n"
        + f"ctorch\n{kind}\nS'{key}'\n".encode()
        + b"S'cpu'\nI4\ntQ"
        + (b"I%d\n" % offset)
        + integers(shape)
        + integers(strides)
        + b"tRs."
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((0, (5,), (1,)), "larger than its storage"),
        ((1, (4,), (1,)), "larger than its storage"),
        ((0, (2, 2), (3, 1)), "larger than its storage"),
        ((0, (2**40,), (0,)), "larger than its storage"),
        ((-1, (4,), (1,)), "impossible shape"),
        ((0, (4,), (-1,)), "impossible shape"),
        ((0, (2**60, 2**60), (1, 1)), "impossible shape"),
        ((0, (2, 2), (1,)), "impossible strides"),
        ((0, (4,), (1,), "../../secret"), "has no storage"),
        ((0, (4,), (1,), "0", "Quantized"), "unknown type: torch.Quantized"),
    ],
)
def test_claims_beyond_the_storage_are_refused(tmp_path, arguments, words):
    storage = np.arange(4, dtype="float32")
    write(tmp_path / "x.pth", claim(0, (4,), (1,)), [("0", storage.tobytes())])
    np.testing.assert_array_equal(read(tmp_path / "x.pth")["bias"], storage)
    write(tmp_path / "x.pth", claim(*arguments), [("0", storage.tobytes())])
    refused(tmp_path / "x.pth", words)


def test_a_pickle_cannot_ask_for_gigabytes(tmp_path):
    """A memo index of 2**32 - 1, and a byte array of 2**40."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in (
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".",
        b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b".",
    ):
        write(tmp_path / "x.pth", content)
        refused(tmp_path / "x.pth", "x.pth")
        legacy = torch_file({}, legacy=True)
        legacy = legacy.replace(b"\x80\x02}.", content)
        (tmp_path / "x.pth").write_bytes(legacy)
        refused(tmp_path / "x.pth", "x.pth")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000  # kilobytes
