"""The `gcvit` command, as real processes in a folder of their own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import NANO, REFERENCE, pytorch_tensors
from PIL import Image
from safetensors.numpy import save_file

import gcvit_keras
from gcvit_cli.main import VariantName
from gcvit_keras import VARIANTS

ROOT = Path(__file__).parent.parent.parent


def gcvit(*arguments, cwd):
    """Runs the installed command; returns code, output and error lines."""
    command = Path(sys.executable).with_name("gcvit")
    process = subprocess.run(
        [command, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    return process.returncode, process.stdout, process.stderr


def refused(*arguments, cwd):
    """The one error line of a call that must fail."""
    code, _, errors = gcvit(*arguments, cwd=cwd)
    assert code == 1, errors
    (line,) = errors.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory):
    """One whole run, shared: what was printed, and its folder."""
    folder = tmp_path_factory.mktemp("quickstart")
    code, output, errors = gcvit("quickstart", "--out", "out", cwd=folder)
    assert code == 0, errors
    return output, errors, folder / "out"


def test_quickstart_prints_our_words_and_keras_progress(quickstart):
    output, errors, _ = quickstart
    assert errors == ""
    for words in (
        "1437 to train on, 360 held out",
        "Epoch 20/20",
        "loss: ",
        "in processes without Keras",
        "Done in",
    ):
        assert words in output


def test_quickstart_twice_keeps_what_is_there_and_says_so(quickstart):
    _, _, out = quickstart

    def times():
        return {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}

    before = times()
    code, output, errors = gcvit(
        "quickstart", "--out", out, "--json", cwd=out.parent
    )
    assert code == 0, errors
    for name in ("data", "images", "digits.keras", "savedmodel/1"):
        assert f"{name} is there from an earlier run" in errors
    assert "digits.tflite is there from an earlier run" in errors
    assert times() == before and len(before) >= 15
    result = json.loads(output)
    rows = result["artefacts"]
    assert [r["artefact"] for r in rows] == ["Keras", "SavedModel", "LiteRT"]
    for row in rows:
        assert row["accuracy"] >= 0.975
        assert Path(row["path"]).exists()
        assert row["bytes"] > 1e6
        assert row["milliseconds"] > 0
        wrong = np.not_equal(row["predicted"], result["labels"]).sum()
        assert len(row["predicted"]) == 8 and wrong <= 1
    assert rows[1]["difference"] <= 1e-5
    assert rows[2]["difference"] <= 1e-4


def test_quickstart_names_a_file_that_is_not_its_own(quickstart, tmp_path):
    _, _, out = quickstart
    (tmp_path / "out").mkdir()
    shutil.copytree(out / "data", tmp_path / "out" / "data")
    (tmp_path / "out" / "digits.keras").write_bytes(b"something else")
    line = refused("quickstart", "--out", "out", cwd=tmp_path)
    assert "digits.keras" in line
    kept = (tmp_path / "out" / "digits.keras").read_bytes()
    assert kept == b"something else"


def test_quickstart_exports_what_an_interrupted_run_did_not(
    quickstart, tmp_path
):
    _, _, out = quickstart
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "digits.tflite").unlink()
    shutil.rmtree(tmp_path / "out" / "savedmodel" / "1")
    (tmp_path / "out" / "savedmodel" / ".writing-1").mkdir()
    code, output, errors = gcvit("quickstart", "--out", "out", cwd=tmp_path)
    assert (code, errors) == (0, "")
    assert "not trained again" in output
    assert "Exported out/savedmodel/1." in output
    assert "Exported out/digits.tflite." in output


def test_quickstart_names_what_is_damaged(quickstart, tmp_path):
    _, _, out = quickstart
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "digits.tflite").write_text("broken")
    code, _, errors = gcvit("quickstart", "--out", "out", cwd=tmp_path)
    assert code == 1
    assert "remove out/digits.tflite to export it again" in errors
    (records,) = (tmp_path / "out").rglob("digits-test.tfrecord*")
    records.write_bytes(b"")
    line = refused("quickstart", "--out", "out", cwd=tmp_path)
    assert "out/data cannot be used; remove it" in line


def test_quickstart_leaves_labels_that_are_not_its_own(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    code, _, errors = gcvit("quickstart", "--out", ".", cwd=tmp_path)
    assert code == 1
    assert "labels.txt is not what a quickstart leaves" in errors
    assert (tmp_path / "labels.txt").read_text() == "cat\ndog\n"


def test_quickstart_into_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    line = refused("quickstart", "--out", "out", cwd=tmp_path)
    assert "--out cannot be made: out" in line
    line = refused("quickstart", "--out", "a[1]", cwd=tmp_path)
    assert "a[1]" in line


@pytest.mark.parametrize(
    "model", ["digits.keras", "digits.tflite", "savedmodel/1"]
)
def test_predict_reads_every_artefact(quickstart, model):
    _, _, out = quickstart
    pictures = sorted((out / "images").glob("*.png"))
    code, output, errors = gcvit(
        "predict", *pictures, "--model", model, "--json", cwd=out
    )
    assert (code, errors) == (0, "")
    rows = json.loads(output)
    assert [r["image"] for r in rows] == [str(p) for p in pictures]
    right = [
        r["classes"][0]["label"] == r["image"].split("_is_")[1][0] for r in rows
    ]
    assert sum(right) >= len(rows) - 1
    for row in rows:
        scores = [c["score"] for c in row["classes"]]
        assert len(scores) == 5 and scores == sorted(scores, reverse=True)


def test_predict_goes_on_after_bad_images_and_exits_1(quickstart, tmp_path):
    _, _, out = quickstart
    good = next((out / "images").glob("*.png"))
    cut = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    (tmp_path / "text.jpg").write_text("no image")
    code, output, errors = gcvit(
        "predict",
        "missing.png",
        cut,
        "text.jpg",
        tmp_path,
        good,
        "--model",
        out / "digits.tflite",
        cwd=tmp_path,
    )
    assert code == 1
    lines = errors.strip().splitlines()
    for line, name in zip(
        lines,
        ["missing.png", "cut.png", "text.jpg", str(tmp_path)],
        strict=True,
    ):
        assert line.startswith("error: ") and name in line
    assert str(good) in output and "%" in output


def test_predict_takes_labels_and_top(quickstart, tmp_path):
    _, _, out = quickstart
    good = next((out / "images").glob("*.png"))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"digit-{k}" for k in range(10)))
    model = ("--model", out / "digits.tflite", "--labels", names)
    _, output, _ = gcvit("predict", good, *model, "--top", 2, cwd=tmp_path)
    assert output.count("digit-") == 2
    names.write_text("one\ntwo")
    line = refused("predict", good, *model, cwd=tmp_path)
    assert "2 labels for 10 classes" in line


@pytest.fixture(scope="module")
def not_classifiers(tmp_path_factory):
    """A folder of files and models that `predict` cannot use."""
    folder = tmp_path_factory.mktemp("models")
    for suffix in ("keras", "tflite", "safetensors"):
        (folder / f"broken.{suffix}").write_text("broken")
    features = gcvit_keras.GCViT(
        **{**NANO, "depths": (1, 1, 1, 1)},
        include_top=False,
        input_shape=(32, 32, 3),
    )
    features.save(folder / "features.keras")
    gcvit_keras.feature_pyramid(features).save(folder / "pyramid.keras")
    vectors = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    vectors.save(folder / "vectors.keras")
    vectors.export(folder / "kerasexport", verbose=False)
    return folder


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "give either --model, or --variant"),
        (("--variant", "tiny"), "--variant needs --weights"),
        (
            ("--model", "broken.keras", "--weights", "broken.safetensors"),
            "--weights goes with --variant",
        ),
        (("--model", "[red].keras"), "[red].keras: no such model"),
        (("--model", "features.keras"), "is no image classifier"),
        (("--model", "pyramid.keras"), "is no image classifier"),
        (("--model", "vectors.keras"), "is no image classifier"),
        (("--model", "kerasexport"), "has no signature serving_default"),
        (("--model", "missing.keras"), "missing.keras: no such model"),
        (("--model", "broken.keras"), "broken.keras cannot be opened"),
        (("--model", "broken.tflite"), "broken.tflite cannot be opened"),
        (("--model", "."), "is neither a .keras nor"),
        (("--model", "broken.keras", "--crop", "0"), "--crop must be in"),
        (
            ("--variant", "tiny", "--weights", "broken.safetensors"),
            "broken.safetensors cannot be read",
        ),
    ],
)
def test_predict_refuses_in_one_line(not_classifiers, arguments, words):
    folder = not_classifiers
    assert words in refused("predict", "a.png", *arguments, cwd=folder)


def test_list_shows_every_variant_and_the_licence(tmp_path):
    code, output, errors = gcvit("list", cwd=tmp_path)
    assert (code, errors) == (0, "")
    _, text, _ = gcvit("list", "--json", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(text)}
    assert list(rows) == list(VARIANTS) == [v.value for v in VariantName]
    for name, variant in VARIANTS.items():
        (line,) = [x for x in output.splitlines() if f" {name} " in x]
        for value in (f"{variant.parameters:,}", variant.top1, "BY-NC-SA"):
            assert str(value) in line
        assert rows[name]["gmacs"] == variant.gmacs


@pytest.fixture(scope="module")
def xxtiny(tmp_path_factory):
    """An xxtiny of random weights for 7 classes, as both checkpoints."""
    folder = tmp_path_factory.mktemp("xxtiny")
    model = gcvit_keras.GCViTXXTiny(weights=None, classes=7)
    for scheme in ("timm", "official"):
        save_file(
            pytorch_tensors(model, scheme), folder / f"{scheme}.safetensors"
        )
    return model, folder


@pytest.mark.parametrize("scheme", ["timm", "official"])
def test_convert_writes_the_model_of_the_checkpoint(
    xxtiny, images, tmp_path, scheme
):
    model, folder = xxtiny
    code, output, errors = gcvit(
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


def test_predict_takes_a_variant_with_its_checkpoint(xxtiny, tmp_path):
    model, folder = xxtiny
    picture = tmp_path / "noise.png"
    Image.effect_noise((300, 260), 80).save(picture)
    code, output, errors = gcvit(
        "predict",
        *(picture, "--variant", "xxtiny", "--json"),
        *("--weights", folder / "timm.safetensors"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    image = gcvit_keras.load_image(picture, 224, VARIANTS["xxtiny"].crop_ratio)
    scores = np.asarray(model(image[None].astype("float32")))[0]
    for found in json.loads(output)[0]["classes"]:
        assert found["score"] == pytest.approx(scores[found["class"]], 1e-4)


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
        ("other", "x.keras", "is no GC ViT checkpoint"),
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
    assert words in refused(
        "convert", source, "--variant", "tiny", "--out", out, cwd=tmp_path
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "there.keras").read_text() == "precious"


def test_help_does_not_load_tensorflow_and_shows_examples(tmp_path):
    code = (
        "import sys; from gcvit_cli.main import main\n"
        "sys.argv = ['gcvit', *sys.argv[1:], '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    for command in ([], ["quickstart"], ["predict"], ["convert"], ["list"]):
        process = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        if command:
            assert "Example: gcvit" in " ".join(process.stdout.split())


def test_the_wheel_holds_what_the_commands_need(tmp_path):
    packages = ["gcvit_keras", "training", "savedmodel_export", "gcvit_cli"]
    source = tmp_path / "source"
    for package in packages:
        shutil.copytree(
            ROOT / package,
            source / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    expected = {
        str(path.relative_to(source))
        for package in packages
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", source], cwd=tmp_path, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in held if "dist-info" not in name} == expected
    target = tmp_path / "target"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", target, wheel], check=True
    )
    code = (
        "import gcvit_keras, sys; from gcvit_cli.main import main\n"
        f"assert gcvit_keras.__file__.startswith({str(target)!r})\n"
        "sys.argv = ['gcvit', 'list', '--json']; main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
    )
    assert len(json.loads(process.stdout)) == 8
