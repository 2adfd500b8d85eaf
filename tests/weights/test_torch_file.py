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
from conftest import REFERENCE
from loopback import torch_file
from safetensors.numpy import load_file

from gcvit_keras import load_weights
from gcvit_keras.weights.torch_file import open_torch_file

FILES = Path(__file__).parent.parent / "data" / "torch"


def test_the_tests_own_files_are_read(tmp_path):
    """loopback.torch_file writes what other tests serve."""
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(4)}
    (tmp_path / "x.pth").write_bytes(torch_file(arrays))
    for key, array in read_torch_file(tmp_path / "x.pth").items():
        np.testing.assert_array_equal(array, arrays[key])


def read_torch_file(path):
    with open_torch_file(path) as tensors:
        return {key: tensor.read() for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    "name, reference",
    [
        ("timm_nano.pth", "timm_nano.safetensors"),
        ("official_nano.pth.tar", "official_nano.safetensors"),
    ],
)
def test_weights_are_bit_equal_to_the_safetensors(name, reference):
    """The second nests them beside an optimizer, with module. prefixes."""
    tensors = read_torch_file(FILES / name)
    expected = load_file(REFERENCE / reference)
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(tensors[key], value)


def test_models_load_from_pth(nano):
    for name, divisor in (("timm_nano.pth", 8), ("official_nano.pth.tar", 1)):
        model = nano(weights=FILES / name, se_divisor=divisor)
        same = nano(
            weights=REFERENCE / f"{name.split('.')[0]}.safetensors",
            se_divisor=divisor,
        )
        for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_type_and_stride_reads_bit_exactly():
    tensors = read_torch_file(FILES / "odd.pth")
    base = np.arange(24, dtype="float32") / np.float32(7)
    for name, dtype in (
        ("float16", np.float16),
        ("bfloat16", ml_dtypes.bfloat16),
        ("float32", np.float32),
        ("float64", np.float64),
        ("int64", np.int64),
    ):
        assert tensors[name].dtype == dtype
        np.testing.assert_array_equal(tensors[name], base.astype(dtype))
    for name, expected in (
        ("transposed", base.reshape(4, 6).T),
        ("strided", base[1::3]),
        ("shared", base[5:11].reshape(2, 3)),
        ("scalar", np.float32(3.5)),
        ("empty", np.zeros((0, 3), "float32")),
        ("parameter", base[:4]),
    ):
        np.testing.assert_array_equal(tensors[name], expected)


@pytest.mark.torch
def test_what_torch_saves_now_reads_bit_exactly(tmp_path):
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
    whole = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3}
    for saved in (state, whole):
        torch.save(saved, tmp_path / "x.pth")
        found = read_torch_file(tmp_path / "x.pth")
        assert list(found) == list(state)
        for key, value in state.items():
            wide = value.double() if value.is_floating_point() else value
            array = found[key]
            assert str(array.dtype) == str(value.dtype).split(".")[1]
            np.testing.assert_array_equal(
                array.astype("float64"), wide.numpy(), strict=False
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


def refused(path, words):
    with pytest.raises(ValueError, match=words) as error:
        read_torch_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "place",
    [
        lambda call: call,
        lambda call: {"state_dict": {"a": call}},
        lambda call: {"optimizer": [call], "state_dict": {}},
        lambda call: {"state_dict": {"a": 1}, "args": {call: call}},
    ],
)
def test_nothing_that_a_pickle_names_is_called(tmp_path, place):
    mark = tmp_path / "called"
    for function in (os.system, os.mkdir, exec):
        argument = f"touch {mark}" if function is os.system else str(mark)
        if function is exec:
            argument = f"open({str(mark)!r}, 'w')"
        write(tmp_path / "x.pth", pickle.dumps(place(Call(function, argument))))
        refused(tmp_path / "x.pth", "holds")
        assert not mark.exists()


def test_what_stands_where_a_tensor_belongs_is_named(tmp_path):
    content = pickle.dumps({"state_dict": {"norm": Call(os.getcwd)}})
    write(tmp_path / "x.pth", content)
    refused(tmp_path / "x.pth", "holds a posix.getcwd at 'norm'")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    refused(path, "cannot be read")
    for content in (b"", b"text", b"PK\x03\x04 broken"):
        path.write_bytes(content)
        refused(path, "cannot be read as a zip archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    refused(path, "not one of torch.save")
    write(path, pickle.dumps([1, 2]))
    refused(path, "root is a list")
    write(path, pickle.dumps({"a": 3}))
    refused(path, "holds a int at 'a'")


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep):
    whole = (FILES / "timm_nano.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: int(keep * len(whole))])
    refused(tmp_path / "x.pth", "cannot be read")


def test_a_damaged_storage_is_refused(tmp_path):
    whole = bytearray((FILES / "timm_nano.pth").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "x.pth").write_bytes(whole)
    refused(tmp_path / "x.pth", "CRC")


def test_damage_at_the_end_leaves_the_model_as_it_was(nano, tmp_path):
    """Weights are read one by one; the last must not be found out last."""
    path = tmp_path / "x.pth"
    whole = (FILES / "timm_nano.pth").read_bytes()
    with zipfile.ZipFile(FILES / "timm_nano.pth") as archive:
        infos = [i for i in archive.infolist() if "/data/" in i.filename]
    last = max(infos, key=lambda info: info.header_offset)
    damaged = bytearray(whole)
    damaged[last.header_offset + 200] ^= 0xFF  # the header takes less
    path.write_bytes(damaged)
    model = nano(se_divisor=8)
    before = model.get_weights()
    with pytest.raises(ValueError, match="CRC"):
        load_weights(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_damaged_pickle_is_one_error(tmp_path):
    with zipfile.ZipFile(FILES / "timm_nano.pth") as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        content = archive.read(name)
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            broken[at] = rng.integers(0, 256)
        write(tmp_path / "x.pth", bytes(broken))
        with pytest.raises(ValueError, match="x.pth"):
            read_torch_file(tmp_path / "x.pth")


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
    """A pickle of {'a': tensor}; its storage holds four floats."""

    def integers(values):
        return b"(" + b"".join(b"I%d\n" % v for v in values) + b"t"

    return (
        b"(dS'a'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\n"
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
        ((0, (5,), (1,)), "larger than its storage: a"),
        ((1, (4,), (1,)), "larger than its storage: a"),
        ((0, (2, 2), (3, 1)), "larger than its storage: a"),
        ((0, (2**40,), (0,)), "larger than its storage: a"),
        ((-1, (4,), (1,)), "impossible shape"),
        ((0, (4,), (-1,)), "impossible shape"),
        ((0, (2**60, 2**60), (1, 1)), "impossible shape"),
        ((0, (2, 2), (1,)), "impossible strides: a"),
        ((0, (4,), (1,), "../../secret"), "has no storage"),
        ((0, (4,), (1,), "0", "Quantized"), "unknown type: torch.Quantized"),
    ],
)
def test_claims_beyond_the_storage_are_refused(tmp_path, arguments, words):
    storage = np.arange(4, dtype="float32")
    write(tmp_path / "x.pth", claim(0, (4,), (1,)), [("0", storage.tobytes())])
    np.testing.assert_array_equal(
        read_torch_file(tmp_path / "x.pth")["a"], storage
    )
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
        with pytest.raises(ValueError, match="x.pth"):
            read_torch_file(tmp_path / "x.pth")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000  # kilobytes
