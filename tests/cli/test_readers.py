"""Every door reads an image file as the run that made the model did."""

import io
import json

import keras
import numpy as np
import pytest
from command import inside
from PIL import Image

from gcvit_keras import ImageReader

SMALL = ("epochs=1", "optimizer.warmup_epochs=0", "data.batch_size=4")
SMALL += ("model.embed_dim=8", "model.depths=[1, 1, 1, 1]")
SMALL += ("model.num_heads=[1, 1, 1, 1]", "data.image_size=32")


def photo(orientation=1, seed=0):
    """A JPEG whose colours differ from side to side."""
    ramp = np.linspace(0, 255, 60)[None, :, None] * [[[1, 0, 0.5]]]
    ramp = ramp + np.linspace(0, 255, 44)[:, None, None] * [[[0, 1, -0.5]]]
    noise = np.random.default_rng(seed).normal(0, 20, (44, 60, 3))
    image = Image.fromarray(np.clip(ramp + noise, 0, 255).astype("uint8"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    image.save(content, "JPEG", quality=95, exif=exif)
    return content.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the command on photographs, some of which cannot be read."""
    folder = tmp_path_factory.mktemp("readers")
    for i in range(6):
        for name in ("cat", "dog/in"):
            path = folder / "photos" / name / f"{i}.jfif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(1 + i, seed=i))
    (folder / "photos/cat/gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "photos/dog/notes.txt").write_text("dogs")
    settings = (*SMALL, "data.dataset=photos", "data.crop_ratio=0.6")
    settings += ("data.crop_mode=squash", "data.broken_share=0.4")
    code, output, errors = inside(
        *("train", "digits", "--out", "photos/run", "--json"),
        *(part for setting in settings for part in ("--set", setting)),
        cwd=folder,
    )
    assert code == 0, errors
    return folder, json.loads(output), errors


def test_training_says_what_it_ignores_and_what_it_cannot_read(run):
    folder, result, errors = run
    assert "1 ignored (no image), such as photos/dog/notes.txt" in errors
    lists = folder.glob("photos/run/broken*")
    broken = "".join(path.read_text() for path in lists).split()
    left_out = result["evaluation"]["left_out"]
    assert set(broken) == {"photos/cat/gone.jpg"} or left_out == 1
    labels = (folder / "photos/run/labels.txt").read_text()
    assert labels == "cat\ndog\n"


def scores(output):
    (row,) = json.loads(output)
    return {c["label"]: c["score"] for c in row["classes"]}


@pytest.mark.parametrize("model", ["run", "run/model.keras"])
def test_predict_reads_as_the_run_did(run, model):
    folder = run[0]
    reader = ImageReader(32, 0.6, "squash")
    assert ImageReader.of(folder / "photos" / model) == reader
    path = folder / "photos/cat/5.jfif"
    code, output, errors = inside(
        *("predict", path, "--model", folder / "photos" / model, "--json"),
        cwd=folder,
    )
    assert code == 0, errors
    network = keras.models.load_model(folder / "photos/run/model.keras")
    for found, image in ((True, reader), (False, ImageReader(32))):
        pixels = image.read(path)[None].astype("float32")
        expected = np.asarray(network(pixels))[0]
        same = [
            abs(score - expected[k]) < 1e-5
            for k, score in enumerate(map(scores(output).get, ("cat", "dog")))
        ]
        assert all(same) is found


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_file_that_lies_alone_is_read_and_named_as_the_run_did(
    run, tmp_path, suffix
):
    """Both are inside of it, whatever lies in its folder."""
    (tmp_path / "labels.txt").write_text("a\nb\n")
    out = tmp_path / "first" / f"model{suffix}"
    out.parent.mkdir()
    code, _, errors = inside(
        *("export", run[0] / "photos/run", "--out", out, "--format"),
        "litert" if suffix == ".tflite" else "onnx",
        cwd=tmp_path,
    )
    assert code == 0, errors
    alone = out.rename(tmp_path / out.name)
    path = run[0] / "photos/cat/5.jfif"
    code, output, errors = inside(
        *("predict", path, "--model", alone, "--json"), cwd=tmp_path
    )
    assert (code, errors) == (0, "")
    network = keras.models.load_model(run[0] / "photos/run/model.keras")
    pixels = ImageReader(32, 0.6, "squash").read(path)[None].astype("float32")
    expected = np.asarray(network(pixels))[0]
    found = scores(output)
    assert found == pytest.approx(
        {"cat": expected[0], "dog": expected[1]}, abs=1e-4
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_server_reads_a_turned_photograph_as_predict_does(
    server, exported, connect, tmp_path, orientation
):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo(orientation))
    code, output, errors = inside(
        *("predict", path, "--model", exported[1], "--top", 10, "--json"),
        cwd=tmp_path,
    )
    assert code == 0, errors
    (answer,) = connect(server).classify([path])
    predicted = scores(output)
    for label, score in zip(answer.labels, answer.scores, strict=True):
        assert abs(predicted[label] - score) < 2e-3
