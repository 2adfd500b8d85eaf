"""`gcvit explain`: the page, in text and in a browser."""

import re
import shutil

import keras
import numpy as np
import pytest
from command import inside, refused
from matplotlib import colormaps
from nano import SHALLOW
from pages import DARK, MODEL, PHOTO, Lists, coloured

import gcvit_keras
from gcvit_cli.explain_classes import page_of
from gcvit_keras.explain import attention_maps, grad_cam

LABELS = ["cat", "<b>dog</b>", "a & b", "</script>", '"quoted"', *"fghij"]


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
    for k, (text, shown) in zip(best, choices, strict=True):
        heat = grad_cam(model, image, int(k))[0]
        if heat.max() == 0:
            assert text == f"{LABELS[k]} (nothing does: the map is zero)"
            assert (shown == np.round(255 * DARK)).all()
        else:
            assert text == LABELS[k]
            assert np.abs(shown - coloured(heat)).max() <= 2


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


@pytest.fixture
def chrome():
    """A browser without a window."""
    selenium = pytest.importorskip("selenium.webdriver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("chromium or chromedriver is not installed")

    options = selenium.ChromeOptions()
    options.binary_location = browser
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = selenium.Chrome(options, selenium.ChromeService(driver))
    yield chrome
    chrome.quit()


def test_the_page_works_in_a_browser(folder, chrome):
    """Moves the slider and chooses from the lists; the console stays empty."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

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


@pytest.mark.parametrize("width", [320, 400, 1000])
def test_long_names_do_not_widen_the_page(folder, chrome, tmp_path, width):
    model = keras.models.load_model(folder / "model.keras")
    image = gcvit_keras.load_image(PHOTO, (80, 96))
    names = [f"{'Llanfairpwllgwyngyll' * 8}{k}" for k in range(10)]
    text = page_of(
        model, image, names, "x" * 200 + ".jpg", "/y" * 20 + "z" * 99
    )
    (tmp_path / "long.html").write_text(text)
    # A frame: windows have a least width.
    (tmp_path / "frame.html").write_text(
        f'<iframe src="long.html" width="{width}" height="900"></iframe>'
    )
    chrome.get((tmp_path / "frame.html").as_uri())
    chrome.switch_to.frame(0)
    script = "return document.documentElement.scrollWidth - innerWidth"
    assert chrome.execute_script(script) <= 0


def test_the_class_whose_map_comes_first_can_be_chosen(folder, page, seen):
    model, image = seen
    worst, second = np.argsort(np.asarray(model(image))[0])[[0, -2]]
    for asked, k in ((LABELS[second], second), (str(worst), worst)):
        command = ("explain", PHOTO, "--model", "model.keras", "--class", asked)
        code, _, errors = inside(*command, "--out", "c.html", cwd=folder)
        assert (code, errors) == (0, "")
        text = (folder / "c.html").read_text()
        choices = Lists(text).found["cam"]
        assert choices[0][0].split(" (")[0] == LABELS[k]
        heat = grad_cam(model, image, int(k))[0]
        if heat.max():
            assert np.abs(choices[0][1] - coloured(heat)).max() <= 2
        # What the model sees is the best class as before.
        assert re.findall("<h1>.*", text) == re.findall("<h1>.*", page)
        assert text.count('<th scope="row">') == 5 + (k == worst)
    for asked in ("10", "-1", "bird"):
        command = ("explain", PHOTO, "--model", "model.keras", "--class", asked)
        line = refused(*command, "--out", "c.html", cwd=folder, code=2)
        assert "--class must be one of the model's 10 classes" in line


def test_bars_have_names_and_the_table_has_headers(page):
    assert page.count("<meter") == 5 == page.count('<th scope="row">')
    assert 'aria-label="&lt;b&gt;dog&lt;/b&gt;"' in page or "dog" not in page
    assert len(re.findall(r"<meter[^>]*aria-label=", page)) == 5
    assert '<th scope="col">class</th>' in page


def test_published_weights_are_explained_with_imagenets_names(
    published, tmp_path
):
    model, environment = published
    command = ("explain", PHOTO, "--variant", "xxtiny", "--weights", "nvidia")
    code, _, errors = inside(
        *(*command, "--out", "x.HTML"),
        cwd=tmp_path,
        **{**environment, "GCVIT_HOME": tmp_path},  # others download it too
    )
    assert code == 0, errors
    ratio = gcvit_keras.find_preset("xxtiny", "nvidia").crop_ratio
    image = gcvit_keras.load_image(PHOTO, 224, ratio)[None].astype("float32")
    scores = model.predict(image, verbose=0)
    (((_, name, _),),) = gcvit_keras.decode_predictions(scores, top=1)
    page = (tmp_path / "x.HTML").read_text()
    assert f"The model sees “{name.replace('_', ' ')}”" in page
    assert "GC ViT xxtiny, weights nvidia" in page


def test_a_link_stays_and_what_it_points_to_is_written(folder, tmp_path):
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    command = ("explain", PHOTO, "--model", folder / "model.keras")
    code, *_ = inside(*command, "--out", "link.html", cwd=tmp_path)
    assert code == 0 and (tmp_path / "link.html").is_symlink()
    assert "Grad-CAM" in (tmp_path / "page.html").read_text()


def test_the_page_is_tried_before_the_work(folder, tmp_path):
    """Before the model, which is none, is opened."""
    (tmp_path / "bad.keras").write_text("bad")
    command = ("explain", PHOTO, "--model", "bad.keras", "--out")
    line = refused(*command, "no/folder/x.html", cwd=tmp_path)
    assert "--out cannot be written: no/folder/x.html" in line
    refused(*command, "x.html", cwd=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.keras"]


def saved(tmp_path, name, **overrides):
    gcvit_keras.GCViT(**{**SHALLOW, **overrides}).save(tmp_path / name)


def test_what_cannot_be_is_one_line(folder, tmp_path):
    model = folder / "model.keras"

    def line(*arguments, image=PHOTO, out="x.html", code=1):
        command = ("explain", image, "--out", out, *arguments)
        return refused(*command, cwd=tmp_path, code=code)

    assert "--out must be a file that ends in .html: x.txt" in line(
        "--model", model, out="x.txt", code=2
    )
    assert "not both" in line("--model", model, "--variant", "tiny", code=2)
    (tmp_path / "text.jpg").write_text("no image")
    found = line("--model", model, image="text.jpg")
    assert "IMAGE cannot be used: text.jpg: not a readable" in found
    found = line("--model", model, image="no.jpg")
    assert "IMAGE cannot be used: no.jpg: no such file" in found
    (tmp_path / "x.tflite").write_text("no model")
    assert "x.tflite is no .keras file" in line("--model", "x.tflite")
    found = line("--model", "missing")
    assert "missing: no such model or run" in found
    (tmp_path / "bad.keras").write_text("bad")
    found = line("--model", "bad.keras")
    assert "bad.keras cannot be opened: no zip archive" in found
    images = keras.Input((32, 32, 3))
    plain = keras.layers.Dense(2)(keras.layers.Flatten()(images))
    keras.Model(images, plain).save(tmp_path / "plain.keras")
    found = line("--model", "plain.keras")
    assert "--model plain.keras cannot be explained: `model` must be" in found
    assert "or hold one" in found and found.endswith("which holds none")
    saved(tmp_path, "features.keras", include_top=False, pooling="avg")
    found = line("--model", "features.keras")
    assert "--model features.keras ends in features, in no class" in found
    found = line("--model", model, "--labels", "imagenet")
    assert "--labels imagenet names 1000 classes, the model has 10" in found
    nan = gcvit_keras.GCViT(**SHALLOW)
    nan.get_layer("predictions").bias.assign(np.full(10, np.nan))
    nan.save(tmp_path / "nan.keras")
    assert "`model` must give finite scores" in line("--model", "nan.keras")
    assert not (tmp_path / "x.html").exists()


def test_the_page_has_a_legend_of_its_maps_colours(page):
    (colours,) = re.findall(r"linear-gradient\(to right, (.*?)\)", page)
    found = [
        [int(stop[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        for stop in colours.split(", ")
    ]
    expected = colormaps["inferno"](np.linspace(0, 1, len(found)))[:, :3]
    np.testing.assert_allclose(found, expected, atol=1 / 255)
    assert re.search(r'least<span class="colours".*?</span>most', page, re.S)


def test_scores_that_are_no_shares_have_no_column_of_bars(folder):
    model = gcvit_keras.GCViT(**SHALLOW, classifier_activation="relu")
    model.get_layer("predictions").bias.assign(np.arange(10) - 2)
    names = [f"class {k}" for k in range(10)]
    page = page_of(model, np.zeros((64, 64, 3), "uint8"), names, "i", "m")
    assert 'colspan="1">score<' in page and "<meter" not in page
    (row,) = re.findall(r"<tr><th scope=\"row\">class 9</th>.*?</tr>", page)
    assert row.count("<td") == 1
