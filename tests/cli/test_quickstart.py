"""`gcvit quickstart`, and `gcvit predict` on what it made."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from command import gcvit, inside, refused
from PIL import Image

from gcvit_training import read_config

pytestmark = pytest.mark.slow


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
        "Epoch 15/15",
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
    code, output, errors = inside(
        "quickstart", "--out", out, "--json", cwd=out.parent
    )
    assert code == 0, errors
    for name in ("data", "images", "digits.keras", "savedmodel/1"):
        assert f"{name} is there from an earlier run" in errors
    assert "digits.tflite is there from an earlier run" in errors
    assert times() == before and len(before) >= 15
    result = json.loads(output)
    rows = result["artifacts"]
    assert [r["artifact"] for r in rows] == ["Keras", "SavedModel", "LiteRT"]
    for row in rows:
        assert row["accuracy"] >= 0.985
        assert Path(row["path"]).exists()
        assert row["bytes"] > 1e6
        assert row["milliseconds"] > 0
        wrong = np.not_equal(row["predicted"], result["labels"]).sum()
        assert len(row["predicted"]) == 8 and wrong <= 1
    assert rows[1]["difference"] <= 1e-5
    assert rows[2]["difference"] <= 1e-4


def test_fine_tuning_beats_training_from_scratch_by_ten_points(
    quickstart, digits, tmp_path
):
    # Not of a network that knows 0 to 4 alone: what that one learned from
    # 721 images of 8 x 8 pixels is of no use for 5 to 9.
    for split in ("train", "test"):
        kept = [0] * 10
        examples = digits.examples(split).map(digits.load)
        for i, (encoded, label) in enumerate(examples.as_numpy_iterator()):
            if label < 5 or (split == "train" and kept[label] == 10):
                continue
            kept[label] += 1
            folder = tmp_path / "photos" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(encoded)
    common = (
        *("--set", "data.dataset=photos", "--set", "data.image_size=32"),
        *("--set", "data.batch_size=10", "--set", "epochs=4"),
        *("--set", "optimizer.warmup_epochs=1", "--json"),
        *("--set", "augment={rotation: 0.03, translation: 0.1, zoom: 0.1}"),
    )
    weights = quickstart[-1] / "digits.keras"
    tuned = (
        *("--set", f"model={{weights: {weights}}}"),
        *("--set", "optimizer.freeze_epochs=1"),
    )
    model = read_config("digits").model.model_dump(exclude_none=True)
    scratch = (
        *("--set", f"model={json.dumps(model)}"),
        *("--set", "optimizer.freeze_epochs=0"),
        *("--set", "optimizer.layer_decay=1"),
    )
    accuracy = {}
    for out, changes in (("tuned", tuned), ("scratch", scratch)):
        code, output, errors = inside(
            "train", "finetune", "--out", out, *common, *changes, cwd=tmp_path
        )
        assert code == 0, errors
        accuracy[out] = json.loads(output)["accuracy"]
    assert accuracy["tuned"] >= accuracy["scratch"] + 0.1, accuracy


def test_quickstart_names_a_file_that_is_not_its_own(quickstart, tmp_path):
    _, _, out = quickstart
    (tmp_path / "out").mkdir()
    shutil.copytree(out / "data", tmp_path / "out" / "data")
    (tmp_path / "out" / "digits.keras").write_bytes(b"something else")
    line = refused("quickstart", "--out", "out", cwd=tmp_path)
    assert "digits.keras" in line
    kept = (tmp_path / "out" / "digits.keras").read_bytes()
    assert kept == b"something else"


@pytest.mark.parametrize("quantize", ["dynamic", "int8"])
def test_int8_digits_keep_97_percent_of_their_classes(
    quickstart, tmp_path, quantize
):
    run = quickstart[-1] / "run"
    code, output, errors = inside(
        *("export", run, "--format", "litert", "--quantize", quantize),
        *("--data", "digits", "--data-dir", quickstart[-1] / "data"),
        *("--input-dtype", "uint8", "--out", "digits.tflite", "--json"),
        cwd=tmp_path,
    )
    assert (code, errors) == (0, "")
    found = json.loads(output)
    assert found["images"] == 360
    assert found["agreement"] >= 0.97
    labels = (tmp_path / "labels.txt").read_text().splitlines()
    assert labels == [str(k) for k in range(10)]


def test_quickstart_exports_what_an_interrupted_run_did_not(
    quickstart, tmp_path
):
    _, _, out = quickstart
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "digits.tflite").unlink()
    shutil.rmtree(tmp_path / "out" / "savedmodel" / "1")
    (tmp_path / "out" / "savedmodel" / ".writing-1").mkdir()
    code, output, errors = inside("quickstart", "--out", "out", cwd=tmp_path)
    assert (code, errors) == (0, "")
    assert "not trained again" in output
    assert "Exported out/savedmodel/1." in output
    assert "Exported out/digits.tflite." in output


def test_quickstart_names_what_is_damaged(quickstart, tmp_path):
    _, _, out = quickstart
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "digits.tflite").write_text("broken")
    code, _, errors = inside("quickstart", "--out", "out", cwd=tmp_path)
    assert code == 1
    assert "remove out/digits.tflite to export it again" in errors
    (records,) = (tmp_path / "out").rglob("digits-test.tfrecord*")
    records.write_bytes(b"")
    line = refused("quickstart", "--out", "out", cwd=tmp_path)
    assert "out/data cannot be used; remove it" in line


def test_quickstart_leaves_labels_that_are_not_its_own(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    code, _, errors = inside("quickstart", "--out", ".", cwd=tmp_path)
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
def test_predict_reads_every_artifact(quickstart, model):
    _, _, out = quickstart
    pictures = sorted((out / "images").glob("*.png"))
    code, output, errors = inside(
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
    *lines, note = errors.strip().splitlines()
    for line, name in zip(
        lines, ["missing.png", cut, "text.jpg", cut], strict=True
    ):
        assert line.startswith(f"error: {name}")
    assert note.startswith(f"note: {tmp_path}: 1 images, and 1 files")
    assert str(good) in output and "%" in output


def test_predict_takes_labels_and_top(quickstart, tmp_path):
    _, _, out = quickstart
    good = next((out / "images").glob("*.png"))
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"digit-{k}" for k in range(10)))
    model = ("--model", out / "digits.tflite", "--labels", names)
    _, output, _ = inside("predict", good, *model, "--top", 2, cwd=tmp_path)
    assert output.count("digit-") == 2
    names.write_text("one\ntwo")
    line = refused("predict", good, *model, cwd=tmp_path)
    assert "2 labels for 10 classes" in line


@pytest.mark.parametrize(
    "layer, method", [("stem", "layercam"), ("level_2_block_1", "gradcam")]
)
def test_maps_of_the_trained_network_are_faithful(
    quickstart, layer, method, monkeypatch
):
    """More than random maps; and not those of another network."""
    root = Path(__file__).parent.parent.parent
    monkeypatch.syspath_prepend(root / "benchmarks")
    import faithfulness
    from faithfulness import held_out, measured

    monkeypatch.setattr(faithfulness, "STEPS", 8)
    monkeypatch.setattr(faithfulness, "RANDOM", 1)
    _, _, out = quickstart
    images = held_out(out, 240)
    model = keras.models.load_model(out / "digits.keras")
    found = measured(model, images, layer, [method])[method]
    assert found["gain"] > 2 * found["error"] > 0
    assert found["deletion"] < found["random_deletion"]
    assert found["insertion"] > found["random_insertion"]
    assert found["noise"] > 0.8
    assert abs(found["randomised"]) < 0.3
