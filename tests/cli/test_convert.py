"""`gcvit convert`."""

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest
from command import gcvit, inside, refused
from loopback import torch_file
from nano import REFERENCE, pytorch_tensors
from safetensors.numpy import load_file, save_file


def test_convert_writes_presets_and_says_that_it_did_not_verify(
    published, images, tmp_path
):
    model, environment = published
    code, output, _ = inside(
        *("convert", "nvidia", "--variant", "xxtiny", "--verify"),
        *("--out", "xxtiny.keras"),
        cwd=tmp_path,
        **environment,
    )
    assert code == 0
    if importlib.util.find_spec("torch") is None:
        assert "Not verified: torch is not installed." in output
    converted = keras.models.load_model(tmp_path / "xxtiny.keras")
    x = images(1, 224, 224, 3)
    np.testing.assert_array_equal(converted(x), model(x))


@pytest.mark.torch
@pytest.mark.parametrize("scheme", ["timm", "official"])
def test_convert_verifies_against_timm(xxtiny, tmp_path, scheme):
    pytest.importorskip("timm")
    _, folder = xxtiny
    file = folder / f"{scheme}.safetensors"
    arguments = ("--variant", "xxtiny", "--verify", "--out", "x.keras")
    code, output, errors = gcvit("convert", file, *arguments, cwd=tmp_path)
    assert code == 0, errors
    assert "Verified: logits within" in output


@pytest.mark.parametrize("scheme", ["timm", "official"])
def test_convert_writes_the_model_of_the_checkpoint(
    xxtiny, images, tmp_path, scheme
):
    model, folder = xxtiny
    code, output, errors = inside(
        "convert",
        folder / f"{scheme}.safetensors",
        *("--variant", "xxtiny", "--out", "xxtiny.keras"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    assert "7 classes" in output
    converted = keras.models.load_model(tmp_path / "xxtiny.keras")
    x = images(1, 224, 224, 3)
    np.testing.assert_array_equal(converted(x), model(x))
    assert [p.name for p in tmp_path.iterdir()] == ["xxtiny.keras"]
    assert (tmp_path / "xxtiny.keras").stat().st_mode & 0o777 == 0o644


def test_convert_says_in_one_line_that_it_cannot_download(tmp_path):
    assert "GCVIT_OFFLINE" in refused(
        *("convert", "nvidia", "--variant", "xxtiny", "--out", "x.keras"),
        cwd=tmp_path,
        GCVIT_OFFLINE="1",
        GCVIT_HOME=tmp_path / "home",
    )
    assert list(tmp_path.glob("*.keras")) == []


@pytest.mark.parametrize("name", ["", "#state_dict"])
def test_convert_takes_the_averages_and_another_set_on_request(
    xxtiny, images, tmp_path, name
):
    model, _ = xxtiny
    plain = pytorch_tensors(model, "official")
    averages = {key: value / 2 for key, value in plain.items()}
    tree = {"state_dict": plain, "state_dict_ema": averages}
    (tmp_path / "best.pth.tar").write_bytes(torch_file(tree))
    code, _, errors = inside(
        *("convert", f"best.pth.tar{name}", "--variant", "xxtiny"),
        *("--out", "x.keras"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    assert ("`state_dict_ema` (EMA), not `state_dict`" in errors) is (not name)
    converted = keras.models.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(
        converted.get_layer("norm").gamma,
        np.asarray(model.get_layer("norm").gamma) / (1 if name else 2),
    )


def test_convert_takes_a_backbone_without_a_classifier(xxtiny, tmp_path):
    model, folder = xxtiny
    tensors = load_file(folder / "timm.safetensors")
    tensors = {k: v for k, v in tensors.items() if not k.startswith("head.")}
    save_file(tensors, tmp_path / "backbone.bin")
    code, output, _ = inside(
        *("convert", "backbone.bin", "--variant", "xxtiny"),
        *("--out", "x.keras"),
        cwd=tmp_path,
    )
    assert code == 0 and "no classifier, 224 x 224 pixels" in output


def test_convert_that_fails_midway_leaves_what_was_there(xxtiny, tmp_path):
    """A real full disk's like: files may not grow beyond 1 MB."""
    _, folder = xxtiny
    (tmp_path / "there.keras").write_text("precious")
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (10**6,) * 2)"
    code = f"{limit}; from gcvit_cli.main import main; main()"
    process = subprocess.run(
        [
            *(sys.executable, "-c", code, "convert"),
            *(folder / "timm.safetensors", "--variant", "xxtiny"),
            *("--out", "there.keras", "--overwrite"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert [p.name for p in tmp_path.iterdir()] == ["there.keras"]
    assert (tmp_path / "there.keras").read_text() == "precious"


@pytest.mark.parametrize(
    "checkpoint, out, words",
    [
        ("xxtiny", "x.h5", "--out must end in .keras"),
        ("xxtiny", "missing/x.keras", "--out cannot be written"),
        ("xxtiny", "/proc/x.keras", "--out cannot be written"),
        ("xxtiny", "folder.keras", "--out is a folder"),
        ("xxtiny", "there.keras", "--out is there already"),
        ("xxtiny", "x.keras", "tiny: that is GC ViT xxtiny"),
        ("nano", "x.keras", "that is of no published variant"),
        ("missing", "x.keras", "missing.safetensors cannot be read"),
        ("broken", "x.keras", "broken.safetensors cannot be read"),
        ("other", "x.keras", "holds no weights of this kind"),
    ],
)
def test_convert_refuses_in_one_line_and_leaves_nothing(
    xxtiny, tmp_path, checkpoint, out, words
):
    _, folder = xxtiny
    source = {
        "xxtiny": folder / "timm.safetensors",
        "nano": REFERENCE / "official_nano.safetensors",
    }.get(checkpoint, tmp_path / f"{checkpoint}.safetensors")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "there.keras").write_text("precious")
    (tmp_path / "broken.safetensors").write_text("broken")
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    before = sorted(p.name for p in tmp_path.iterdir())
    command = ("convert", source, "--variant", "tiny", "--out", out)
    code = 2 if "must end in" in words else 1
    assert words in refused(*command, cwd=tmp_path, code=code)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "there.keras").read_text() == "precious"
