"""The tutorial notebook runs, cell after cell, and serves what it trained."""

import json
from pathlib import Path

import pytest
import serving
from matplotlib.figure import Figure
from PIL import Image

import gcvit_keras

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


@pytest.mark.slow
def test_the_tutorial_runs_to_the_served_answer(
    published, tmp_path, monkeypatch, capsys
):
    _, environment = published
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"]]
    code = [c["cell_type"] == "code" for c in notebook["cells"]]
    serve = cells.index(next(c for c in cells if c.startswith("## Serve")))
    names = {}
    for cell, runs in zip(cells[:serve], code[:serve], strict=True):
        if runs:
            # Of the two presets the loopback has this one.
            exec(cell.replace('"imagenet"', '"nvidia"'), names)
    losses = names["history"].history["loss"]
    assert losses[-1] < losses[0]
    assert isinstance(names["picture"], Figure)
    assert (tmp_path / "photos.tflite").is_file()
    for name in serving.MODELS:  # it looks for them all
        (tmp_path / "serving" / name).mkdir(exist_ok=True)
    with serving.start(tmp_path / "serving") as loopback:
        monkeypatch.setenv("TF_SERVING_ADDRESS", loopback.grpc)
        capsys.readouterr()
        exec(cells[-1], names)
    lines = capsys.readouterr().out.splitlines()
    for line, name in zip(lines, ("flower", "temple"), strict=True):
        file, label, score = line.split()
        assert file == f"photos/{name}/0.jpg"
        image = gcvit_keras.load_image(tmp_path / file, names["SIZE"])
        expected = names["model"].predict(image[None], verbose=0)[0]
        assert label == ("flower", "temple")[expected.argmax()]
        share = float(score.rstrip("%")) / 100
        assert share == pytest.approx(expected.max(), abs=1e-3)


def test_the_tutorial_says_when_nobody_serves(
    tmp_path, monkeypatch, capsys, images
):
    (tmp_path / "flower").mkdir()
    photo = images(32, 32, 3).astype("uint8")
    Image.fromarray(photo).save(tmp_path / "flower" / "0.jpg")
    notebook = json.loads(NOTEBOOK.read_text())
    monkeypatch.setenv("TF_SERVING_ADDRESS", "127.0.0.1:1")
    names = {"photos": tmp_path, "names": ["flower"]}
    cell = "".join(notebook["cells"][-1]["source"])
    exec(cell.replace("timeout=30", "timeout=1"), names)
    out = capsys.readouterr().out
    assert out.startswith("Nobody serves: ") and "127.0.0.1:1" in out
