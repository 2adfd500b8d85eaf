"""Metrics of a classifier, against counts by hand."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import log_loss, precision_recall_fscore_support

from gcvit_training.plots import curves, image_grid, matrix_picture
from gcvit_training.tasks.classification import evaluate


def softmax(logits):
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


@pytest.fixture
def data():
    """Scores and labels of 200 images in 8 classes, the last without any."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 200)
    logits = rng.normal(size=(200, 8)) + 1.5 * np.eye(8)[labels]
    return softmax(2 * logits), labels


def run(scores, labels, batch=64, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    starts = range(0, len(labels), batch)
    batches = [
        (
            np.arange(len(labels))[i : i + batch, None, None, None],
            np.eye(scores.shape[1])[labels[i : i + batch]],
            weights[i : i + batch],
        )
        for i in starts
    ]
    return evaluate(lambda images: scores[images[:, 0, 0, 0]], batches)


def test_everything_is_what_counting_gives(data):
    scores, labels = data
    found = run(scores, labels)
    ranked = [sorted(range(8), key=lambda k, s=s: -s[k]) for s in scores]
    assert found.images == 200 and found.left_out == 0
    right = [r[0] == k for r, k in zip(ranked, labels, strict=True)]
    assert found.top1 == pytest.approx(sum(right) / 200)
    five = [k in r[:5] for r, k in zip(ranked, labels, strict=True)]
    assert found.top5 == pytest.approx(sum(five) / 200)
    assert found.loss == pytest.approx(
        log_loss(labels, scores, labels=range(8))
    )
    for k, one in enumerate(found.per_class):
        count = int((labels == k).sum())
        hits = sum(
            r for r, label in zip(right, labels, strict=True) if label == k
        )
        assert one["images"] == count
        expected = pytest.approx(hits / count) if count else None
        assert one["accuracy"] == expected
        for j in range(8):
            assert found.confusion[k, j] == sum(
                r[0] == j and label == k
                for r, label in zip(ranked, labels, strict=True)
            )
    error = 0
    for low in np.arange(15) / 15:
        top = scores.max(-1)
        inside = (top >= low) & (top < low + 1 / 15)
        if inside.any():
            gap = np.mean(np.array(right)[inside]) - top[inside].mean()
            error += abs(gap) * inside.sum() / 200
    assert found.calibration_error == pytest.approx(error)


def test_precision_recall_and_f1_are_scikit_learns(data):
    scores, labels = data
    found = run(scores, labels)
    expected = precision_recall_fscore_support(
        labels, scores.argmax(-1), labels=range(7), zero_division=0
    )
    for k, (precision, recall, f1, images) in enumerate(
        zip(*expected, strict=True)
    ):
        one = found.per_class[k]
        assert (one["images"], one["recall"]) == (images, recall)
        assert one["precision"] == pytest.approx(precision)
        assert one["f1"] == pytest.approx(f1)
    assert found.per_class[7]["recall"] is None
    assert found.macro_f1 == pytest.approx(expected[2].mean())


def test_images_that_weigh_nothing_are_left_out(data):
    scores, labels = data
    weights = (np.arange(200) % 3 > 0).astype("float32")
    found = run(scores, labels, weights=weights)
    kept = run(scores[weights > 0], labels[weights > 0])
    assert found.left_out == 67
    assert {**found.as_dict(), "left_out": 0} == kept.as_dict()


def test_a_sure_and_right_model_has_no_calibration_error():
    labels = np.arange(6)
    found = run(np.eye(6), labels)
    assert (found.top1, found.loss, found.calibration_error) == (1, 0, 0)
    found = run(np.eye(6)[::-1], labels)
    assert (found.top1, found.calibration_error) == (0, 1)
    assert found.loss == pytest.approx(-np.log(1e-7))


def test_five_classes_have_no_top5():
    assert run(np.eye(5), np.arange(5)).top5 is None


@pytest.mark.parametrize(
    "scores, words",
    [
        (5 * np.eye(6), "must give probabilities.*`classifier_activation`"),
        (np.full((6, 6), np.nan), "must give probabilities"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(scores, words):
    with pytest.raises(ValueError, match=words):
        run(scores, np.arange(6))


def test_other_classes_and_no_images_are_refused():
    batches = [(np.zeros((2, 1, 1, 3)), np.eye(2), np.ones(2))]
    with pytest.raises(ValueError, match=r"scores \(2, 2\).*\(2, 3\)"):
        evaluate(lambda images: np.ones((2, 3)) / 3, batches)
    with pytest.raises(ValueError, match="no images to evaluate"):
        evaluate(lambda images: None, [])


def test_pictures_are_drawn(data, tmp_path):
    evaluation = run(*data)
    names = [f"class {k}" for k in range(8)]
    matrix_picture(
        evaluation.as_dict()["confusion"], names, tmp_path / "confusion.png"
    )
    (tmp_path / "metrics.csv").write_text(
        "epoch,loss,val_loss\n0,1.5,2\n1,1.0,\n"
    )
    curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    images = 255 * np.ones((11, 8, 8, 3))
    image_grid(images, ["a"] * 11, tmp_path / "grid.png")
    for name in ("confusion", "curves", "grid"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 300
            assert len(image.convert("L").getcolors()) > 10
    assert len(list(tmp_path.iterdir())) == 4
