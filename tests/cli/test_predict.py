"""`gcvit predict` on published weights, and what it refuses."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
from command import inside, refused
from nano import NANO
from PIL import Image

import gcvit_keras
from gcvit_keras import VARIANTS


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
        ((), "tiny_224_nvidia-ac783954.pth is not in"),
        (("--weights", "imagenet"), "tiny_224_nvidia-ac783954.pth is not in"),
        (("--variant", "tiny2"), "gcvit_1k_tiny2.pth.tar is not in"),
        (
            ("--variant", "tiny", "--weights", "imgnet"),
            "one of ['imagenet', 'nvidia'] for",
        ),
        (("--model", "[red].keras"), "[red].keras: no such model"),
        (("--model", "features.keras"), "is no image classifier"),
        (("--model", "pyramid.keras"), "is no image classifier"),
        (("--model", "vectors.keras"), "is no image classifier"),
        (("--model", "kerasexport"), "has no signature serve_images"),
        (("--model", "missing.keras"), "missing.keras: no such model"),
        (("--model", "broken.keras"), "broken.keras cannot be opened"),
        (("--model", "broken.tflite"), "broken.tflite cannot be opened"),
        (("--model", "."), "is neither a .keras, .tflite or .onnx"),
        (
            ("--variant", "tiny", "--weights", "broken.safetensors"),
            "broken.safetensors cannot be read",
        ),
    ],
)
def test_predict_refuses_in_one_line(not_classifiers, arguments, words):
    folder = not_classifiers
    assert words in refused(
        *("predict", "a.png", *arguments),
        cwd=folder,
        GCVIT_OFFLINE=1,
        GCVIT_HOME=folder,
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--model", ".", "--variant", "tiny"), "not both"),
        (("--weights", "x.pth"), "--weights x.pth needs --variant"),
        (("--model", "x.keras", "--weights", "x.pth"), "goes with --variant"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path, arguments, words
):
    line = refused("predict", "a.png", *arguments, cwd=tmp_path, code=2)
    assert words in line


def test_predict_names_imagenets_classes_with_published_weights(
    published, tmp_path
):
    model, environment = published
    # A cache of its own: the licence is shown with a download only.
    environment = {**environment, "GCVIT_HOME": tmp_path / "home"}
    photo = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
    command = ("predict", photo, "--variant", "xxtiny", "--weights", "nvidia")
    code, output, errors = inside(
        *command, "--json", cwd=tmp_path, **environment
    )
    assert code == 0 and "CC BY-NC-SA 4.0" in errors
    ratio = gcvit_keras.find_preset("xxtiny", "nvidia").crop_ratio
    image = gcvit_keras.load_image(photo, 224, ratio)
    scores = model.predict(image[None].astype("float32"), verbose=0)
    ((*expected,),) = gcvit_keras.decode_predictions(scores)
    found = json.loads(output)[0]["classes"]
    assert [c["label"] for c in found] == [
        name.replace("_", " ") for _, name, _ in expected
    ]
    for c, (_, _, score) in zip(found, expected, strict=True):
        assert c["score"] == pytest.approx(score, 1e-4)
    # Again, from the cache: not a word of the licence.
    code, output, errors = inside(
        *command, cwd=tmp_path, GCVIT_OFFLINE=1, **environment
    )
    assert (code, errors) == (0, "")
    lines = output.strip().splitlines()
    assert lines[0] == str(photo) and len(lines) == 6
    assert lines[1].split("%  ")[1] == found[0]["label"]


def test_predict_takes_a_variant_with_its_checkpoint(xxtiny, tmp_path):
    model, folder = xxtiny
    picture = tmp_path / "noise.png"
    Image.effect_noise((300, 260), 80).save(picture)
    code, output, errors = inside(
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
