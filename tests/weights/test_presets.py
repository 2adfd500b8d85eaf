"""Presets: the table of them, and what is said without a server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nano import NANO, REFERENCE

import gcvit_keras
from gcvit_keras import find_preset


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(
        ValueError, match=r"\['imagenet', 'nvidia'\] for GC ViT tiny.*imagnet"
    ):
        gcvit_keras.GCViTTiny(weights="imagnet")
    with pytest.raises(ValueError, match="a constructor such as GCViTTiny"):
        gcvit_keras.GCViT(**NANO, weights="imagenet")


def test_the_traceback_of_no_network_is_one(tmp_path, monkeypatch):
    """Not those of what the network's libraries raised in turn, too."""
    for name in ("GCVIT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GCVIT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GCVIT_MIRROR", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    process = subprocess.run(
        [sys.executable, "-c", "import gcvit_keras as g; g.GCViTTiny2()"],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    lines = process.stderr.strip().splitlines()
    assert lines[-1].startswith("gcvit_keras.weights.download.DownloadError: ")
    assert "HF_ENDPOINT" in lines[-1]
    tracebacks = process.stderr.partition("Traceback")[2].splitlines()
    assert "Traceback" not in "".join(tracebacks) and len(tracebacks) < 40


def test_where_the_cache_is(monkeypatch, tmp_path):
    from gcvit_keras.weights.download import cache_folder

    monkeypatch.delenv("GCVIT_HOME", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gcvit"
    monkeypatch.delenv("KERAS_HOME")
    assert cache_folder() == Path.home() / ".keras" / "gcvit"


def test_presets_are_the_published_files():
    assert len({(p.variant, p.name) for p in gcvit_keras.PRESETS}) == 15
    tiny = find_preset("tiny", "imagenet")
    assert tiny.url.endswith("morevit/gcvit_tiny_224_nvidia-ac783954.pth")
    assert (tiny.top1, tiny.crop_ratio, tiny.sha256) == (
        83.4,
        0.875,
        "ac783954",
    )
    published = "xxtiny xtiny tiny tiny2 small small2 base large".split()
    for variant in map(gcvit_keras.VARIANTS.get, published):
        nvidia = find_preset(variant.name, "nvidia")
        assert nvidia.top1 == variant.top1
        assert nvidia.url == (
            "https://huggingface.co/nvidia/GCViT/resolve/main/"
            f"gcvit_1k_{variant.name}.pth.tar"
        )
        if variant.name in ("tiny2", "small2", "large"):
            assert find_preset(variant.name, "imagenet") is nvidia
    facts = json.loads((REFERENCE / "facts.json").read_text())
    large = find_preset("large", "nvidia_21k_512")
    assert large.resolution == facts["large_512_21k"]["resolution"]
    for name, side, window, top1 in (
        ("nvidia_21k_384", 384, 12, 87.4),
        ("nvidia_21k_512", 512, 16, 87.6),
    ):
        preset = find_preset("large", name)
        assert preset.file == f"gcvit_21k_large_{side}.pth.tar"
        assert (preset.resolution, preset.top1) == (side, top1)
        assert preset.window_size == (window, window, 2 * window, window)
        assert (preset.crop_ratio, preset.crop_mode) == (1.0, "squash")
    assert find_preset("tiny", "nvidia_21k_512") is None
