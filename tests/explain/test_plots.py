"""Figures: what they show, and what they refuse."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from gcvit_keras.explain import (
    AttentionMap,
    attention_maps,
    grad_cam,
    plot_attention,
    plot_comparison,
    plot_overlay,
)

MAP = AttentionMap(
    level=0,
    block=1,
    is_global=True,
    heads=(0,),
    window_size=(2, 2),
    size=(2, 2),
    input_size=(8, 8),
    padding=(0, 0),
    weights=np.full((1, 1, 1, 1, 4, 4), 0.25, "float32"),
)


def shown(axis):
    """Arrays that an axis shows, from below."""
    return [np.asarray(picture.get_array()) for picture in axis.get_images()]


def test_an_overlay_shows_the_map_over_the_image(images):
    image = images(20, 30, 3)
    heat = np.linspace(0, 1, 600).reshape(20, 30)
    figure = plot_overlay(image, heat, "what", opacity=1)
    (axis,) = figure.axes
    below, above = shown(axis)
    assert (below == np.round(image)).all()
    np.testing.assert_allclose(above, heat, atol=1e-6)
    assert axis.get_title() == "what"
    # Drawn, the last corner has the brightest colour.
    content = io.BytesIO()
    figure.savefig(content, dpi=100)
    pixels = np.asarray(Image.open(content).convert("RGB")).reshape(-1, 3)
    brightest = np.round(255 * np.array(colormaps["inferno"](1.0)[:3]))
    assert (np.abs(pixels - brightest).max(-1) <= 2).any()


def test_small_maps_are_enlarged_and_grey_images_shown(images):
    figure = plot_overlay(images(32, 32, 1), np.eye(2))
    below, above = shown(figure.axes[0])
    assert below.shape == (32, 32, 3) and above.shape == (32, 32)


def test_maps_lie_over_the_image_that_the_model_resizes(images):
    """Two places of 4 pixels of 5, which are the 10 of the image."""
    heat = np.float32([[0, 1]])
    figure = plot_overlay(images(10, 10, 3), heat, input_size=(5, 5))
    at = (np.arange(10) + 0.5) / 8 - 0.5
    expected = np.tile(np.clip(at, 0, 1), (10, 1))
    np.testing.assert_allclose(shown(figure.axes[0])[1], expected, atol=1e-6)
    found = plot_attention(images(8, 8, 3), [MAP])
    assert shown(found.axes[0])[1].shape == (8, 8)


def test_attention_has_a_row_a_block_and_a_column_a_head(nano, images):
    x = images(2, 64, 64, 3)
    maps = attention_maps(nano(input_shape=(64, 64, 3)), x, block=1)
    figure = plot_attention(x[1], maps, index=1, query=(0, 1))
    axes = np.reshape(figure.axes, (4, 8))
    assert [sum(bool(a.get_images()) for a in row) for row in axes] == [
        *(1, 2, 4, 8),
    ]
    assert axes[2, 3].get_title() == "level 2, block 1 (global)\nhead 3"
    # The map of level 0 is 16 x 16; its corner is the corner's own.
    above = shown(axes[0, 0])[1]
    expected = maps[0].query_map(0, 1)[1, 0]
    np.testing.assert_allclose(above[0, 0], expected[0, 0], atol=1e-6)
    assert len(plot_attention(x[0], maps[:1]).axes) == 1


def test_a_comparison_has_a_row_an_image(nano, images):
    x = images(2, 64, 64, 3)
    maps = [grad_cam(nano(input_shape=(64, 64, 3)), x) for _ in range(2)]
    figure = plot_comparison(x, *maps, names=("before", "after"))
    axes = np.reshape(figure.axes, (2, 3))
    assert [a.get_title() for a in axes[0]] == ["image", "before", "after"]
    assert (shown(axes[1, 2])[1] == maps[1][1]).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: plot_overlay(x, np.eye(2)[None]), "a map must be"),
        (lambda x: plot_overlay(x, np.ones((0, 0))), r"a map.*\(0, 0\)"),
        (lambda x: plot_overlay(x, np.eye(2) * np.nan), "a map.*NaN"),
        (lambda x: plot_overlay(x[0], np.eye(2)), "`image` must be pixels"),
        (lambda x: plot_overlay([["a"]], np.eye(2)), "`image` must be.*list"),
        (lambda x: plot_overlay(x * np.inf, np.eye(2)), "`image`.*infinity"),
        (
            lambda x: plot_overlay(x, np.eye(2), opacity=2),
            "`opacity` must be.*opacity=2",
        ),
        (
            lambda x: plot_overlay(x, np.eye(2), opacity="a"),
            "`opacity` must be.*opacity='a'",
        ),
        (
            lambda x: plot_overlay(x, np.eye(2), input_size=8),
            "`input_size` must be.*input_size=8",
        ),
        (lambda x: plot_attention(x, []), "`maps` must hold one"),
        (lambda x: plot_attention(x, MAP), "`maps` must be a list.*AttentionM"),
        (lambda x: plot_attention(x, [x]), "`maps` must be a list.*list"),
        (lambda x: plot_attention(x, [MAP], 99), "`index`.*0 to 0.*index=99"),
        (lambda x: plot_attention(x, [MAP], -1), "`index`.*index=-1"),
        (lambda x: plot_attention(x, [MAP], query=3), "`query`.*query=3"),
        (
            lambda x: plot_comparison([x], [np.eye(2)], []),
            "1 images, 1 and 0 maps",
        ),
        (
            lambda x: plot_comparison([x], [np.eye(2)], 3),
            "1 images, 1 and 0 maps",
        ),
        (
            lambda x: plot_comparison([x], [np.eye(2)], [np.eye(2)], ("a",)),
            r"`names` must be two texts.*\('a',\)",
        ),
    ],
)
def test_wrong_arguments_are_refused(images, call, words):
    with pytest.raises(ValueError, match=words):
        call(images(8, 8, 3))
