"""`gcvit explain`: the page, in text and in a browser."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
from command import inside, refused
from conftest import SHALLOW
from matplotlib import colormaps
from PIL import Image

import gcvit_keras
from gcvit_keras.explain import attention_maps, grad_cam

PHOTO = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
LABELS = ["cat", "<b>dog</b>", "a & b", "</script>", '"quoted"', *"fghij"]
MODEL = {**SHALLOW, "depths": (2, 2, 2, 2), "input_shape": (80, 96, 3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, its labels, and the page of a photograph."""
    folder = tmp_path_factory.mktemp("explain")
    keras.utils.set_random_seed(0)
    gcvit_keras.GCViT(**MODEL).save(folder / "model.keras")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    code, output, errors = inside(
        *("explain", PHOTO, "--model", "model.keras", "--out", "page.html"),
        cwd=folder,
    )
    assert (code, output, errors) == (0, "Wrote page.html\n", "")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "page.html").read_text()


class Lists(HTMLParser):
    """The texts of each list, and the pixels that they choose."""

    def __init__(self, page):
        super().__init__()
        self.found, self.options = {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "select":
            self.options = self.found.setdefault(attributes["id"], [])
        if tag == "option":
            self.options.append(["", pixels(attributes["value"])])
            self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.options and getattr(self, "open", False):
            self.options[-1][0] += data


def pixels(address):
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def coloured(heat):
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    return np.round(255 * colormaps["inferno"](heat)[..., :3])


@pytest.fixture(scope="module")
def seen(folder):
    """The model, and the photograph as it takes it."""
    model = keras.models.load_model(folder / "model.keras")
    image = gcvit_keras.load_image(PHOTO, (80, 96))
    return model, image[None].astype("float32")


def test_the_classes_can_be_chosen_and_show_their_grad_cam(page, seen):
    model, image = seen
    best = np.argsort(-np.asarray(model(image))[0])[:5]
    choices = Lists(page).found["cam"]
    assert [text for text, _ in choices] == [LABELS[k] for k in best]
    for k, (_, shown) in zip(best, choices, strict=True):
        expected = coloured(grad_cam(model, image, int(k))[0])
        assert np.abs(shown - expected).max() <= 2


def test_each_level_has_its_global_attention_by_head(page, seen):
    model, image = seen
    lists = Lists(page).found
    assert list(lists) == ["cam", *(f"level-{k}" for k in range(4))]
    for found in attention_maps(model, image, block=1):
        choices = lists[f"level-{found.level}"]
        heads = found.mean_map()[0]
        texts = ["all heads, on average"]
        texts += [f"head {k}" for k in range(len(heads))]
        assert [text for text, _ in choices] == texts
        for heat, (_, shown) in zip(
            [heads.mean(0), *heads], choices, strict=True
        ):
            assert np.abs(shown - coloured(heat)).max() <= 2
    # 80 pixels are 2.5 places of the last level: the third goes beyond.
    assert 'style="height: 120.000%; width: 100.000%"' in page


def test_the_page_needs_nothing_else_and_breaks_at_no_name(page):
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith("data:")
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert "<b>dog</b>" not in page and page.count("</script>") == 1
    assert "$" not in re.sub(r'"data:[^"]*"', "", page)


def test_the_page_works_in_a_browser(folder):
    """Moves the slider and chooses from the lists; the console stays empty."""
    selenium = pytest.importorskip("selenium.webdriver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("chromium or chromedriver is not installed")
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    options = selenium.ChromeOptions()
    options.binary_location = browser
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = selenium.Chrome(options, selenium.ChromeService(driver))
    try:
        chrome.get((folder / "page.html").as_uri())
        maps = chrome.find_elements("css selector", "img.map")
        assert len(maps) == 5
        for image in chrome.find_elements("css selector", "img"):
            assert int(image.get_property("naturalWidth")) > 0
        slider = chrome.find_element("id", "opacity")
        slider.send_keys(Keys.HOME)
        assert {m.value_of_css_property("opacity") for m in maps} == {"0"}
        slider.send_keys(Keys.ARROW_RIGHT)
        slider.send_keys(Keys.ARROW_RIGHT)
        assert {m.value_of_css_property("opacity") for m in maps} == {"0.02"}
        assert chrome.find_element("id", "opacity-value").text == "2%"
        for name in ("cam", "level-2"):
            before = chrome.find_element("id", f"{name}-map")
            old = before.get_property("src")
            choice = Select(chrome.find_element("id", name))
            choice.select_by_index(2)
            new = before.get_property("src")
            assert new != old
            assert new == choice.first_selected_option.get_property("value")
        others = chrome.find_element("id", "level-1-map").get_property("src")
        assert others.startswith("data:")
        assert chrome.get_log("browser") == []
    finally:
        chrome.quit()


def test_what_cannot_be_is_one_line(folder, tmp_path):
    model = folder / "model.keras"
    run = ("explain", PHOTO, "--model", model, "--out")
    assert "--out must be a file that ends in .html: x.txt" in refused(
        *run, "x.txt", cwd=tmp_path
    )
    line = refused(*run, "x.html", "--crop", 2, cwd=tmp_path)
    assert "--crop must be in (0, 1]. Received: 2" in line
    (tmp_path / "text.jpg").write_text("no image")
    line = refused(
        *("explain", "text.jpg", "--model", model, "--out", "x.html"),
        cwd=tmp_path,
    )
    assert "text.jpg" in line
    (tmp_path / "x.tflite").write_text("no model")
    line = refused(
        *("explain", PHOTO, "--model", "x.tflite", "--out", "x.html"),
        cwd=tmp_path,
    )
    assert "x.tflite is no .keras file" in line
    images = keras.Input((32, 32, 3))
    plain = keras.layers.Dense(2)(keras.layers.Flatten()(images))
    keras.Model(images, plain).save(tmp_path / "plain.keras")
    line = refused(
        *("explain", PHOTO, "--model", "plain.keras", "--out", "x.html"),
        cwd=tmp_path,
    )
    assert "must be a GC ViT of this library or hold one" in line
    assert not (tmp_path / "x.html").exists()
