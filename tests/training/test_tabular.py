"""Multi-label and regression training from tables."""

import json

import keras
import numpy as np
import pytest
from command import inside
from harness import goes_through, metrics
from recipe import SMALL
from sklearn.metrics import average_precision_score, f1_score, r2_score

from gcvit_training import read_config, train, write_report
from gcvit_training.tasks import open_task
from gcvit_training.tasks.tabular import open_table
from gcvit_training.tasks.tabular.evaluators import (
    LabelEvaluator,
    NumberEvaluator,
)

SETTINGS = (
    *SMALL,
    "data.image_size=32",
    "data.batch_size=8",
    "deterministic=true",
    "checkpoint_steps=2",
    "epochs=4",
    "optimizer.learning_rate=3e-3",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty images: each colour is there or not, as strong as it may be."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        strengths = rng.integers(0, 2, 3) * rng.integers(120, 250, 3)
        pixels = rng.integers(0, 40, (36, 36, 3)) + strengths * 0.8
        keras.utils.save_img(folder / f"{i}.png", pixels, scale=False)
        split = "test" if i % 4 == 3 else "train"
        rows.append((f"{i}.png", split, *map(int, strengths)))
    return folder, rows


def write(folder, rows, as_labels):
    path = folder / ("labels.jsonl" if as_labels else "numbers.csv")
    if as_labels:
        lines = [
            json.dumps(
                {
                    "image": image,
                    "split": split,
                    "labels": [
                        name
                        for name, strength in zip(
                            ("red", "green", "blue"), strengths, strict=True
                        )
                        if strength
                    ],
                }
            )
            for image, split, *strengths in rows
        ]
    else:
        lines = ["image,split,red,green,blue"]
        lines += [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def config(folder, *overrides):
    base = read_config("digits").model_dump(mode="json")
    recipe = {k: base[k] for k in ("optimizer", "model", "epochs")}
    recipe |= {"task": "tabular", "data": {}}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return read_config(path, [*SETTINGS, *overrides])


@pytest.mark.parametrize(
    "outputs", [pytest.param("labels", marks=pytest.mark.slow), "numbers"]
)
def test_a_table_goes_through(images, tmp_path, outputs):
    folder, rows = images
    table = write(folder, rows, outputs == "labels")
    settings = config(tmp_path, f"data.dataset={table}", f"outputs={outputs}")
    if outputs == "labels":
        out, model, result = goes_through(settings, tmp_path, kill_at=(9,))
    else:  # without the kill, which is the same
        out = tmp_path / "whole"
        model = train(settings, out, verbose=0)
        result = write_report(settings, out)
    assert result["images"] == 10
    names = (out / "labels.txt").read_text().split()
    assert sorted(names) == ["blue", "green", "red"]
    last = metrics(out)[-1]
    assert float(last["val_loss"]) == pytest.approx(result["loss"], rel=1e-5)
    chance = np.log(2) if outputs == "labels" else 1.0
    assert result["loss"] < chance
    # The commands know tables, too.
    code, output, errors = inside("evaluate", out, "--json", cwd=tmp_path)
    assert (code, errors) == (0, "")
    measured = json.loads(output)
    assert measured["images"] == 10 and measured["labels"] == names
    assert measured["loss"] == pytest.approx(result["loss"], rel=1e-5)
    code, output, errors = inside(
        *("train", out / "config.yaml", "--check-data", "--json"), cwd=tmp_path
    )
    assert code == 0, errors
    counted = json.loads(output)["train"]
    strengths = [row[2:] for row in rows if row[1] == "train"]
    if outputs == "labels":
        expected = np.count_nonzero(strengths, axis=0)
    else:
        expected = np.mean(strengths, 0)
    expected = dict(zip(("red", "green", "blue"), expected, strict=True))
    assert counted["classes"] == pytest.approx(expected)
    assert counted["images"] == 30 and counted["broken"] == []
    # Outputs are what they are said to be, in the units of the table.
    held = [row for row in rows if row[1] == "test"]
    pixels = [keras.utils.load_img(folder / image) for image, *_ in held]
    pixels = [np.asarray(image.resize((32, 32), 3)) for image in pixels]
    found = model.predict(np.float32(pixels), verbose=0)
    truths = np.array(
        [
            [row[2:]["red green blue".split().index(n)] for n in names]
            for row in held
        ]
    )
    if outputs == "labels":
        assert (found > 0).all() and (found < 1).all()
        assert not np.allclose(found.sum(-1), 1, atol=1e-2)
    else:
        error = np.abs(found - truths).mean()
        said = np.mean(
            [one["mean_absolute_error"] for one in result["per_number"]]
        )
        assert error == pytest.approx(said, rel=0.05)


def test_labels_are_measured_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    truths = rng.integers(0, 2, (50, 3))
    scores = np.clip(0.4 * truths + rng.uniform(0, 0.6, (50, 3)), 0.01, 0.99)
    evaluator = LabelEvaluator("abc")
    weights = (np.arange(50) % 5 > 0).astype("float32")
    evaluator.update(scores[:20], truths[:20], weights[:20])
    evaluator.update(scores[20:], truths[20:], weights[20:])
    result = evaluator.result()
    kept = weights > 0
    assert (result["images"], result["left_out"]) == (40, 10)
    assert result["mean_average_precision"] == pytest.approx(
        average_precision_score(truths[kept], scores[kept], average="macro")
    )
    assert result["macro_f1"] == pytest.approx(
        f1_score(truths[kept], scores[kept] >= 0.5, average="macro")
    )
    expected = keras.losses.binary_crossentropy(
        truths[kept].astype("float32"), scores[kept].astype("float32")
    )
    assert result["loss"] == pytest.approx(float(np.mean(expected)), rel=1e-5)


def test_numbers_are_measured_as_scikit_learn_does():
    rng = np.random.default_rng(2)
    truths = rng.normal(5, [1, 10], (30, 2))
    outputs = truths + rng.normal(0, [0.5, 3], (30, 2))
    evaluator = NumberEvaluator(["a", "b"], np.array([1.0, 10.0]))
    evaluator.update(outputs, truths, np.ones(30))
    result = evaluator.result()
    assert result["r2"] == pytest.approx(r2_score(truths, outputs))
    error = np.abs(outputs - truths).mean(0)
    for k in range(2):
        one = result["per_number"][k]
        assert one["mean_absolute_error"] == pytest.approx(error[k])


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "image,x\n1.png,many\n", "line 2: could not convert"),
        ("a.csv", "image,x\n1.png\n", "line 2: 2 fields are wanted"),
        ("a.csv", "image,x\n1.png,nan\n", "line 2: a number is not finite"),
        ("a.csv", "file,x\n1.png,3\n", "line 2: .*"),
        ("a.csv", "image\n1.png\n", "no column of labels or numbers"),
        ("a.csv", "image,x\n", "has no images"),
        ("a.jsonl", "{\n", "is not JSON Lines"),
        ("a.jsonl", "[1]\n", "must have an object on every line"),
        (
            "a.jsonl",
            '{"image": "1.png", "labels": []}\n\n{"labels": "cat"}\n',
            'line 3: `labels` must be a list of names. Received: "cat"',
        ),
        ("a.jsonl", '{"labels": null}', "line 1: `labels` must be a list"),
        ("a.jsonl", '{"labels": [3]}', "line 1: `labels` must be a list"),
        ("b.csv", None, "must be a .csv or .jsonl file"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        open_table(tmp_path / name, 0.1)


def test_without_splits_a_share_is_held_out_and_stays(tmp_path):
    lines = [f"{i}.png,{i % 2}" for i in range(200)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["image,x", *lines[:100]]))
    before = set(open_table(path, 0.25).files["test"])
    path.write_text("\n".join(["image,x", *lines]))
    table = open_table(path, 0.25)
    assert before <= set(table.files["test"])
    assert 30 < table.size("test") < 70


def test_labels_are_zero_or_one(images, tmp_path):
    folder, rows = images
    table = write(folder, rows, False)
    settings = config(tmp_path, f"data.dataset={table}", "outputs=labels")
    from gcvit_training.tasks import open_task

    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        open_task(settings)


def test_numbers_may_start_from_a_model_of_numbers(images, tmp_path):
    folder, rows = images
    table = write(folder, rows, as_labels=False)
    settings = (f"data.dataset={table}", "outputs=numbers")
    first = open_task(config(tmp_path, *settings)).network()
    first.save(tmp_path / "first.keras")
    weights = f"model={{weights: {tmp_path / 'first.keras'}}}"
    second = open_task(config(tmp_path, *settings, weights)).network()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    pixels = pixels.astype("float32")
    np.testing.assert_allclose(second(pixels), first(pixels), rtol=1e-5)


def test_a_page_has_a_dash_for_what_is_not_counted(images, tmp_path):
    folder, rows = images
    table = write(folder, rows, as_labels=True)
    evaluator = LabelEvaluator(["a|b"])
    evaluator.update(np.zeros((2, 1)), np.zeros((2, 1)), np.ones(2))
    task = open_task(config(tmp_path, f"data.dataset={table}"))
    page = task.page(evaluator.result())
    assert page[-1] == "| a\\|b | 0 | 0.0000 | - |"
