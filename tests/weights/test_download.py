"""Presets from a real HTTP server on the loopback, hub included."""

import dataclasses
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from loopback import Handler, Server, sha256, torch_file
from nano import REFERENCE
from safetensors.numpy import load_file

import gcvit_keras
from gcvit_keras import DownloadError, Preset, download_weights, find_preset

TIMM = torch_file(load_file(REFERENCE / "timm_nano.safetensors"))
WEIGHTS = {
    f"module.{key}": value
    for key, value in load_file(REFERENCE / "official_nano.safetensors").items()
    if value.dtype == "float32"
}
# As timm's script saves it with --model-ema; the averages are none to load.
OFFICIAL = torch_file(
    {
        "state_dict": WEIGHTS,
        "state_dict_ema": {key: 0 * value for key, value in WEIGHTS.items()},
    }
)

IMAGENET = Preset(
    "nano",
    "imagenet",
    "timm_nano.pth",
    on_hub=False,
    sha256=sha256(TIMM)[:8],
    resolution=224,
    window_size=(7, 7, 14, 7),
    top1=0.0,
    crop_ratio=0.875,
)
# huggingface_hub writes 10 MB at a time; this one is not read, only moved.
BIG = np.random.default_rng(0).bytes(25_000_000)
LARGE = dataclasses.replace(IMAGENET, file="large.pth", sha256=sha256(BIG)[:8])
NVIDIA = dataclasses.replace(
    IMAGENET, name="nvidia", file="nano.pth.tar", on_hub=True, sha256=""
)


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.files["/timm_nano.pth"] = TIMM
    server.files["/large.pth"] = BIG
    server.files["/blob"] = OFFICIAL
    server.hub["/nvidia/GCViT/resolve/main/nano.pth.tar"] = "/blob"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(server, tmp_path, monkeypatch):
    for name in ("GCVIT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GCVIT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GCVIT_MIRROR", "")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "cache"


def names(folder):
    """What lies in the cache, locks aside."""
    return {p.name for p in folder.iterdir() if p.suffix != ".lock"}


def imagenet(server):
    return download_weights(IMAGENET, mirror=server.url)


def large(server):
    return download_weights(LARGE, mirror=server.url)


# --- what users call ---------------------------------------------------


def test_a_preset_of_a_url_loads_the_references_weights(
    nano, server, cache, monkeypatch
):
    monkeypatch.setenv("GCVIT_MIRROR", server.url + "/")
    model = nano(weights=IMAGENET, se_divisor=8)
    same = nano(weights=REFERENCE / "timm_nano.safetensors", se_divisor=8)
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_preset_of_the_hub_loads_the_references_weights(nano, capsys):
    """What was published are the accuracies of `state_dict`."""
    model = nano(weights=NVIDIA)
    said = capsys.readouterr().err
    assert "loaded `state_dict.module`, not `state_dict_ema.module`" in said
    same = nano(weights=REFERENCE / "official_nano.safetensors")
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_constructors_take_names(server, monkeypatch):
    """The file is not there, which is as far as a name has to lead."""
    with pytest.raises(
        DownloadError, match=r"GCViT/resolve/main/gcvit_1k_tiny2.pth.tar .*404"
    ):
        gcvit_keras.GCViTTiny2()
    monkeypatch.setenv("GCVIT_MIRROR", server.url)
    for constructor, name, file in (
        ("GCViTXXTiny", "imagenet", "gcvit_xxtiny_224_nvidia-d1d86009.pth"),
        ("GCViTBase", "nvidia", "gcvit_1k_base.pth.tar"),
        ("GCViTLarge", "nvidia_21k_384", "gcvit_21k_large_384.pth.tar"),
    ):
        with pytest.raises(DownloadError, match=rf"/{file} .* 404"):
            getattr(gcvit_keras, constructor)(weights=name)


def test_a_preset_of_another_variant_is_refused_before_the_download(server):
    with pytest.raises(ValueError, match="of GC ViT tiny. Received one of xxt"):
        gcvit_keras.GCViTTiny(weights=find_preset("xxtiny", "nvidia"))
    assert not server.log


def test_a_mirror_that_is_no_url_is_refused(server):
    with pytest.raises(DownloadError, match="must begin with http:// or https"):
        download_weights(IMAGENET, mirror="localhost:9")


def test_a_wrong_argument_is_found_before_the_download(server):
    with pytest.raises(ValueError, match="pooling"):
        gcvit_keras.GCViTTiny2(pooling="mean")
    assert not server.log


def test_a_preset_of_another_resolution_sets_size_and_windows(
    nano, server, cache
):
    preset = dataclasses.replace(
        NVIDIA, resolution=256, window_size=(8, 8, 16, 8)
    )
    with pytest.raises(ValueError, match="of another shape"):
        nano(weights=preset, embed_dim=8)  # read, and found to be another's
    model = nano(weights=preset)
    assert model.input_shape == (None, 256, 256, 3)
    dynamic = nano(weights=preset, include_top=False)
    for built, rows in ((model, 15), (dynamic, 15)):
        attention = built.get_layer("level_0_block_0").attention
        assert attention.relative_position_bias_table.shape[0] == rows**2


# --- the licence -------------------------------------------------------


def test_the_licence_is_said_once_with_what_it_is(nano, server, capfd):
    nano(weights=NVIDIA)
    said = capfd.readouterr().err
    assert said.count("CC BY-NC-SA 4.0") == 1
    assert "GC ViT nano (nvidia, 224 x 224" in said
    nano(weights=NVIDIA)
    assert "CC BY-NC-SA" not in capfd.readouterr().err


# --- checksums ---------------------------------------------------------


def test_what_is_not_the_published_file_is_refused(server, cache):
    server.files["/timm_nano.pth"] = TIMM[:-1] + b"x"
    with pytest.raises(DownloadError, match=f"begin with {IMAGENET.sha256}"):
        imagenet(server)
    assert names(cache) == set()
    server.files["/timm_nano.pth"] = TIMM
    assert imagenet(server).read_bytes() == TIMM


def test_what_the_hub_states_is_compared(server, cache):
    server.files["/broken"] = OFFICIAL[:-1] + b"x"
    path = "/nvidia/GCViT/resolve/main/nano.pth.tar"
    stated = Handler.answer

    def answer(self, body):
        # The hub states the right file, and sends the broken one.
        if self.path == path and self.command == "GET":
            self.path = "/broken"
        stated(self, body)

    Handler.answer = answer
    try:
        with pytest.raises(DownloadError, match=f"be {sha256(OFFICIAL)}"):
            download_weights(NVIDIA)
    finally:
        Handler.answer = stated
    assert names(cache) == set()


def test_the_hash_is_recorded_and_a_later_change_refused(server, cache):
    path = download_weights(NVIDIA)
    record = cache / "nano.pth.tar.sha256"
    assert record.read_text() == f"{sha256(OFFICIAL)}  nano.pth.tar\n"
    subprocess.run(["sha256sum", "-c", record.name], cwd=cache, check=True)
    path.unlink()
    server.files["/blob"] = TIMM
    with pytest.raises(DownloadError, match="is not the file that was there"):
        download_weights(NVIDIA)
    # From a mirror, which states nothing, just as well.
    server.files["/nano.pth.tar"] = TIMM
    with pytest.raises(DownloadError, match=f"should be {sha256(OFFICIAL)}"):
        download_weights(NVIDIA, mirror=server.url)
    assert names(cache) == {record.name}
    record.unlink()
    assert download_weights(NVIDIA).read_bytes() == TIMM


def test_a_file_brought_by_hand_is_checked(server, cache):
    cache.mkdir()
    (cache / "timm_nano.pth").write_bytes(OFFICIAL)
    with pytest.raises(DownloadError, match="or remove"):
        imagenet(server)
    (cache / "timm_nano.pth").write_bytes(TIMM)
    assert imagenet(server).read_bytes() == TIMM
    assert not server.log


def test_what_is_no_checkpoint_is_not_kept_where_nobody_states_a_hash(
    nano, server, cache
):
    server.files["/nano.pth.tar"] = b"<html>Please log in</html>"
    with pytest.raises(DownloadError, match="nano.pth.tar is no checkpoint"):
        download_weights(NVIDIA, mirror=server.url)
    assert names(cache) == set()
    # Nor is a part of who knows what gone on with.
    (cache / "nano.pth.tar.part").write_bytes(b"x" * 1000)
    server.files["/nano.pth.tar"] = OFFICIAL
    path = download_weights(NVIDIA, mirror=server.url)
    assert path.read_bytes() == OFFICIAL


def test_a_record_that_says_something_else_is_named(server, cache):
    cache.mkdir()
    (cache / "timm_nano.pth.sha256").write_text("0" * 64 + "  timm_nano.pth\n")
    with pytest.raises(DownloadError, match="as .*sha256 has it from before"):
        imagenet(server)
    (cache / "timm_nano.pth.sha256").write_text("")
    assert imagenet(server).read_bytes() == TIMM


# --- interruptions -----------------------------------------------------


def test_a_hang_up_is_resumed(server):
    server.cut_at = 15_000_000
    assert large(server).read_bytes() == BIG
    (_, _, first), (_, _, second) = server.gets()
    assert first is None and second == f"bytes={10 * 2**20}-"


@pytest.mark.parametrize("kept", [1000, len(TIMM)])
def test_a_download_goes_on_where_it_stopped(server, cache, kept):
    cache.mkdir()
    (cache / "timm_nano.pth.part").write_bytes(TIMM[:kept])
    assert imagenet(server).read_bytes() == TIMM
    assert server.gets()[0][2] == f"bytes={kept}-"
    assert names(cache) == {"timm_nano.pth", "timm_nano.pth.sha256"}


@pytest.mark.parametrize("kept", [1000, 2 * len(TIMM)])
def test_the_start_of_another_file_is_left_behind(server, cache, kept):
    cache.mkdir()
    (cache / "timm_nano.pth.part").write_bytes(b"x" * kept)
    assert imagenet(server).read_bytes() == TIMM


DOWNLOAD = """
import pickle, sys
from gcvit_keras import download_weights
preset, mirror = pickle.load(sys.stdin.buffer)
print(download_weights(preset, mirror=mirror))
"""


def start(server, code=DOWNLOAD):
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(pickle.dumps((LARGE, server.url)))
    process.stdin.close()
    process.stdin = None
    return process


def test_a_killed_download_leaves_nothing_broken_and_is_resumed(server, cache):
    server.pause = 0.01
    process = start(server)
    part = cache / "large.pth.part"
    deadline = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert names(cache) == {part.name}
    server.pause = 0.0
    assert large(server).read_bytes() == BIG
    assert int(server.gets()[-1][2][6:-1]) > 100_000


def test_of_two_processes_one_downloads(server, cache):
    server.pause = 0.01
    first, second = start(server), start(server)
    said = ""
    for process in (first, second):
        output, errors = process.communicate(timeout=120)
        said += errors.decode()
        assert process.returncode == 0, errors
        assert output.decode().strip() == str(cache / "large.pth")
    assert len(server.gets()) == 1
    assert said.count("Another process is downloading large.pth") == 1


def test_a_full_disk_is_an_error_and_the_next_try_goes_on(server, cache):
    """Files may not grow beyond 15 MB, as on a disk that is full."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, "
    code = limit + "(15_000_000,) * 2)\n" + DOWNLOAD
    process = start(server, code=code)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    last = errors.decode().strip().splitlines()[-1]
    assert "large.pth cannot be written: File too large" in last
    assert "GCVIT_HOME" in last
    assert names(cache) == {"large.pth.part"}
    assert large(server).read_bytes() == BIG
    assert int(server.gets()[-1][2][6:-1]) > 100_000


# --- no network --------------------------------------------------------


def test_a_404_says_what_to_do(server, cache):
    del server.files["/timm_nano.pth"]
    with pytest.raises(DownloadError) as error:
        imagenet(server)
    message = str(error.value)
    assert f"{server.url}/timm_nano.pth cannot be downloaded: 404" in message
    assert "GCVIT_MIRROR" in message and str(cache) in message
    assert IMAGENET.url in message and "\n" not in message


@pytest.mark.parametrize("preset", [IMAGENET, NVIDIA], ids=lambda p: p.name)
def test_no_network_says_what_to_do(server, cache, preset):
    server.shutdown()
    server.server_close()
    mirror = None if preset.on_hub else server.url
    with pytest.raises(DownloadError, match="cannot be downloaded: .*efused"):
        download_weights(preset, mirror=mirror)


def test_offline_uses_the_cache_and_asks_nobody(
    nano, server, cache, monkeypatch
):
    monkeypatch.setenv("GCVIT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="GCVIT_OFFLINE"):
        nano(weights=NVIDIA)
    assert not server.log
    monkeypatch.setenv("GCVIT_OFFLINE", "0")
    nano(weights=NVIDIA)
    requests = len(server.log)
    monkeypatch.setenv("GCVIT_OFFLINE", "1")
    nano(weights=NVIDIA)
    assert len(server.log) == requests


def test_a_cache_that_cannot_be_made_is_an_error(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GCVIT_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match="GCVIT_HOME to another folder"):
        imagenet(server)


# --- the table ---------------------------------------------------------
