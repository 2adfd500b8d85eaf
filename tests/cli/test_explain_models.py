"""`gcvit explain`: the pages of other models than the usual one."""

import re

import keras
import numpy as np
import pytest
from command import inside
from pages import BRIGHT, DARK, MODEL, PHOTO, Lists, coloured

import gcvit_keras
from gcvit_cli.explain_page import _coloured, sameness
from gcvit_keras.explain import grad_cam


def explained(model, tmp_path, *more):
    """The page of a model."""
    model.save(tmp_path / "other.keras")
    command = ("explain", PHOTO, "--model", "other.keras", "--out", "x.html")
    code, _, errors = inside(*command, *more, cwd=tmp_path)
    assert (code, errors) == (0, "")
    return (tmp_path / "x.html").read_text()


def pointed(kernel, **overrides):
    """A model whose head is given."""
    keras.utils.set_random_seed(0)
    model = gcvit_keras.GCViT(**{**MODEL, **overrides})
    size = model.get_layer("predictions").kernel.shape
    model.get_layer("predictions").kernel.assign(np.broadcast_to(kernel, size))
    return model


def test_grad_cam_is_of_a_level_of_more_than_one_place(tmp_path):
    """The quickstart's size: the last level has one place, level 2 four."""
    keras.utils.set_random_seed(0)
    small = {"depths": (1, 1, 2, 1), "input_shape": (32, 32, 3)}
    model = gcvit_keras.GCViT(**{**MODEL, **small})
    page = explained(model, tmp_path)
    assert "last block of level 2, each of 16 by 16 pixels; those of" in page
    assert "Grad-CAM, level 2" in page
    image = gcvit_keras.load_image(PHOTO, 32)[None].astype("float32")
    best = np.argsort(-np.asarray(model(image))[0])[:5]
    shown = Lists(page).found["cam"]
    for k, (_, found) in zip(best, shown, strict=True):
        heat = grad_cam(model, image, int(k), "level_2_block_1")[0]
        if heat.max():  # within two of the 256 colours
            assert np.abs(found - coloured(heat)).max() <= 6


def test_maps_that_are_the_same_everywhere_are_said_in_words():
    assert sameness(np.eye(2)) == ""
    assert sameness(np.ones((2, 2))) == " (the same everywhere)"
    assert sameness(np.zeros((2, 2))) == " (nothing does: the map is zero)"
    for value, colour in ((1, BRIGHT), (0, DARK)):
        found = _coloured(np.full((2, 2), value, "float32"))
        assert (found == np.round(255 * colour)).all()


def test_levels_without_global_attention_are_left_out(tmp_path):
    page = explained(pointed(1, depths=(1, 2, 1, 1)), tmp_path)
    assert list(Lists(page).found) == ["cam", "level-1"]
    assert "Without global attention: level 0, 2, 3, of one block" in page
    page = explained(pointed(1, depths=(1, 1, 1, 1)), tmp_path)
    assert list(Lists(page).found) == ["cam"]
    assert page.count('<div class="pictures">') == 1


def test_maps_lie_over_what_a_model_resizes(tmp_path):
    x = keras.Input((200, 100, 3))
    inner = gcvit_keras.GCViT(**{**MODEL, "depths": (1, 1, 1, 2)})
    model = keras.Model(x, inner(keras.layers.Resizing(80, 96)(x)))
    page = explained(model, tmp_path)
    # 2.5 places of 32 pixels of 80, whatever the image's height.
    assert 'style="height: 120.000%; width: 100.000%"' in page
    assert "places of 80 by 33.33 pixels" in page


def test_a_single_share_has_a_class_and_its_opposite(tmp_path):
    for value, name in ((1.5, "yes"), (-1.5, "no")):
        how = {"classes": 1, "classifier_activation": "sigmoid"}
        model = pointed(0, depths=(1, 1, 1, 1), **how)
        model.get_layer("predictions").bias.assign([value])
        (tmp_path / "labels.txt").write_text("no\nyes\n")
        page = explained(model, tmp_path)
        assert f"“{name}” (81.8%)" in page
        assert [t.split(" (")[0] for t, _ in Lists(page).found["cam"]] == [
            *((name, "yes") if name == "no" else (name, "no")),
        ]


@pytest.mark.parametrize("bias", [[1.5, -2.0, 0.25], [0.25], [-3.0]])
def test_a_linear_head_gives_numbers_as_predict_prints_them(tmp_path, bias):
    how = {"classes": len(bias), "classifier_activation": None}
    model = pointed(0, depths=(1, 1, 1, 1), **how)
    model.get_layer("predictions").bias.assign(bias)
    names = ["age", "height", "weight"][: len(bias)]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    page = explained(model, tmp_path)
    assert "%</td>" not in page and "<meter" not in page
    _, output, _ = inside(
        "predict", PHOTO, "--model", "other.keras", cwd=tmp_path
    )
    _, *lines = output.splitlines()
    assert len(lines) == len(bias)
    shown = [" ".join(line.split()) for line in lines]
    rows = re.findall(r'row">(\w+)</th><td class="number">(.*?)</td>', page)
    assert [f"{number} {name}" for name, number in rows] == shown
