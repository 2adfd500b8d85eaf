"""Every code block of the README and the documentation runs as it stands.

But for what makes it quick: small networks in place of large ones, the
addresses of servers that run, and the weights that the loopback has.
"""

import contextlib
import html
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from command import inside
from loopback import torch_file
from nano import pytorch_tensors
from PIL import Image

import gcvit_keras
from gcvit_keras.models.constructors import CONSTRUCTORS

ROOT = Path(__file__).parent.parent
PAGES = sorted(p.name for p in (ROOT / "docs").glob("*.md"))

NOT_RUN = {
    "pip install": "the machine's own environment; .ci/run does",
    "cd serving && docker": "needs Docker",
    "gcloud": "needs Google Cloud",
    "python benchmarks/gpu.py": "needs a GPU, JAX, PyTorch and timm",
    "gcvit train segmentation_finetune --out": "tests/training trains one",
    "gcvit train labels --out": "tests/training trains one",
    "python docs/draw_explain.py": "takes a minute and a half",
    "pytest": "the tests themselves",
    "mkdocs serve": "serves until it is stopped",
}
"""Beginnings of commands that are not run, and why."""
SYNTAX_ONLY = (
    *("exec gcvit train", "srun", "from sagemaker"),
    *("epoch_36.pth", "detector.keras", "segmenter.keras", "import keras_hub"),
)
"""In blocks that need a cluster, a cloud, a trained detector, or what no extra
installs: only parsed."""
NOT_CODE = {
    "": "plain text",
    "kotlin": "needs Android",
    "dockerfile": "needs Docker",
}
SMALL = (
    "--set 'model={embed_dim: 16, depths: [1, 2, 1, 1], "
    "num_heads: [1, 2, 4, 8], mlp_ratio: 2}' --set data.image_size=64 "
    "--set data.batch_size=4 --set epochs=2 --set optimizer.layer_decay=1 "
    "--set optimizer.warmup_epochs=0 --set optimizer.freeze_epochs=0"
)
SMALL_DETECTOR = (
    "--set 'model={embed_dim: 8, depths: [1, 1, 1, 1], num_heads: [1, 1, 1, "
    "1], mlp_ratio: 1, window_size: [4, 4, 4, 4], fpn_channels: 8, "
    "fc_channels: 8}' --set epochs=4 --set data.short_side=64 "
    "--set data.long_side=96 --set augment.short_sides=[64] "
    "--set augment.long_side=96 --set optimizer.warmup_epochs=0"
)
QUICKER = {
    # Commands.
    "train detection_finetune": f"train detection_finetune {SMALL_DETECTOR}",
    "mine.pth": "gcvit_tiny.pth",
    "gcvit-quickstart/images/*.png": "cat.jpg",
    "gcvit-quickstart/digits.keras": "run/model.keras",
    "gcvit-quickstart/run --data-dir gcvit-quickstart/data": "run",
    "gcvit-quickstart/run": "run",
    "gcvit train finetune": f"gcvit train finetune {SMALL}",
    "--weights imagenet": "--variant xxtiny --weights nvidia",
    "--variant tiny": "--variant xxtiny",
    "--model photos": "--model gcvit",
    "--concurrency 16": "--concurrency 2 --requests 20",
    # Python.
    "imagenet": "nvidia",
    "GCViTTiny": "GCViTXXTiny",
    'UPerNet("tiny"': 'UPerNet("xxtiny", backbone_weights=None, channels=8',
    'MaskRCNN("tiny"': 'MaskRCNN("xxtiny", backbone_weights="nvidia"',
    # tests/detection traces the step, which takes minutes at this size.
    "weight_decay=0.05))": "weight_decay=0.05), run_eagerly=True)",
    "(224, 224": "(64, 64",
    "epochs=3": "epochs=1",
    '["epochs=2"': '["epochs=2", "model.depths=[1, 1, 1, 1]"',
    '"photos") as client': '"gcvit") as client',
}


def blocks(text):
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """What the pages speak of: photos, a run, checkpoints."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    for name, colour in (("cat", (200, 60, 30)), ("dog", (20, 90, 180))):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(-20, 20, (70, 80, 3)) + colour
            image = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
            image.save(folder / "photos" / name / f"{i}.png")
        image.save(folder / f"{name}.{'jpg' if name == 'cat' else 'png'}")
    command = "gcvit train finetune --out run --set data.dataset=photos"
    run_command(command, folder, {})
    write_scans(folder / "scans")
    write_land(folder / "land")
    return folder


def write_land(folder):
    """Images of sky and land, with their label maps."""
    for split, count in (("train", 8), ("val", 2)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for k in range(count):
            labels = np.zeros((48, 64), "uint8")
            labels[20 + k :] = 1
            image = Image.fromarray(90 * labels).convert("RGB")
            image.save(folder / "images" / split / f"{k}.jpg")
            Image.fromarray(labels).save(folder / "labels" / split / f"{k}.png")
    (folder / "labels.txt").write_text("sky\nland\n")


def write_scans(folder):
    """Bright boxes on dark images, as an annotation tool exports them."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for k in range(1, 11):
        pixels = rng.integers(0, 60, (64, 80, 3), "uint8")
        x, y = (int(v) for v in rng.integers(0, 30, 2))
        pixels[y : y + 30, x : x + 40] += 150
        Image.fromarray(pixels).save(folder / "images" / f"{k}.jpg")
        images.append(
            {"id": k, "file_name": f"{k}.jpg", "width": 80, "height": 64}
        )
        corners = [x, y, x + 40, y, x + 40, y + 30, x, y + 30]
        annotations.append(
            {
                "id": k,
                "image_id": k,
                "category_id": 1,
                "bbox": [x, y, 40, 30],
                "area": 1200,
                "iscrowd": 0,
                "segmentation": [corners],
            }
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "box"}],
    }
    path = folder / "annotations" / "instances_default.json"
    path.write_text(json.dumps(content))


@pytest.fixture
def place(shop, tmp_path):
    """A folder of its own with all that is in the shop."""
    return shutil.copytree(shop, tmp_path / "shop")


@pytest.fixture
def where(published, loopback):
    """What the environment and the addresses are replaced by."""
    _, environment = published
    environment = {key: str(value) for key, value in environment.items()}
    addresses = {
        "localhost:8500": loopback.grpc,
        "localhost:8501": loopback.rest,
    }
    return environment, addresses


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_every_block_of_a_page_runs(page, place, where):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    text = (folder / page).read_text()
    environment, addresses = where
    if "gcvit_tiny.pth" in text:
        model = gcvit_keras.GCViTXXTiny(weights=None)
        content = torch_file(pytorch_tensors(model, "official"))
        (place / "gcvit_tiny.pth").write_bytes(content)
    python = ["import numpy as np\nimages = np.zeros((2, 64, 64, 3))\n"]
    for language, block in blocks(text):
        for old, new in addresses.items():
            block = block.replace(old, new)
        if any(words in block for words in SYNTAX_ONLY):
            check_syntax(language, block)
        elif language == "sh":
            for command in lines(block):
                run_command(command, place, environment)
        elif language == "python":
            if page == "README.md":
                continue  # tests/test_readme.py runs it
            python.append(replaced(block))
        elif language == "json":
            json.loads(block)
        else:
            assert language in NOT_CODE, f"a block of {language!r}"
    if len(python) > 1:
        with (
            contextlib.chdir(place),
            mock.patch.dict(os.environ, environment),
        ):
            exec(compile("\n".join(python), page, "exec"), {})


def lines(block):
    """Commands, those over several lines joined."""
    joined = block.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


def replaced(text):
    for old, new in QUICKER.items():
        text = text.replace(old, new)
    return text


RUN = set()
"""Commands that have run on this page or an earlier one."""


def run_command(command, place, environment):
    if command.startswith(tuple(NOT_RUN)) or command in RUN:
        return
    RUN.add(command)
    if command.startswith("gcvit "):
        words = shlex.split(replaced(command))[1:]
        code, output, errors = inside(*words, cwd=place, **environment)
        assert code == 0, f"{command}\n{output}\n{errors}"
        return
    subprocess.run(command, shell=True, check=True, cwd=place)


def check_syntax(language, block):
    if language == "python":
        compile(block, "block", "exec")
    else:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_pages_are_all_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert page in text


def test_the_changelog_is_one():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert (ROOT / "docs" / "changelog.md").read_text() == text
    assert gcvit_keras.__version__ in text


def test_the_diagram_has_the_names_and_shapes_of_the_code():
    svg = (ROOT / "docs" / "images" / "architecture.svg").read_text()
    shown = set(re.findall(r">([^<>]+)</text>", svg))
    model = gcvit_keras.GCViTXXTiny(weights=None)
    for layer in model.layers[1:]:
        assert layer.name in shown
        sizes = " x ".join(str(size) for size in layer.output.shape[1:])
        assert any(
            text.split() == [type(layer).__name__, *sizes.split()]
            for text in shown
        ), layer.name


def test_the_diagram_tells_local_from_global_blocks():
    """By colour: the first box of each in the legend, then one per block."""
    svg = (ROOT / "docs" / "images" / "architecture.svg").read_text()
    model = gcvit_keras.GCViTXXTiny(weights=None)
    blocks = [x for x in model.layers if type(x).__name__ == "GCViTBlock"]
    queried = [len(x._inbound_nodes[0].input_tensors) > 1 for x in blocks]
    assert svg.count("fill: #e0cdf0") == 1 + sum(queried)
    assert svg.count("fill: #cfe3f7") == 1 + len(blocks) - sum(queried)
    for text in (">local attention<", ">global attention<"):
        assert text in svg


def test_the_documentation_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "-d", tmp_path],
        check=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    page = (tmp_path / "api" / "models" / "index.html").read_text()
    for build in CONSTRUCTORS.values():
        _, section = page.split(f'id="gcvit_keras.{build.__name__}"')
        section, *_ = section.split('id="gcvit_keras.')
        text = " ".join(html.unescape(re.sub("<[^>]+>", "", section)).split())
        assert f"{build.__name__}( include_top=True," in text
        _, described = text.split("Parameters:")
        for argument in inspect.signature(build).parameters:
            assert re.search(rf"\b{argument} [^,=]*–", described), argument
    page = (tmp_path / "api" / "explain" / "index.html").read_text()
    assert 'id="gcvit_keras.explain.grad_cam"' in page
    text = " ".join(html.unescape(re.sub("<[^>]+>", "", page)).split())
    assert "gcvit_keras.explain.grad_cam ¶ grad_cam( model," in text
    # What is returned is one item, its first line no type.
    returned = re.findall(r"Returns:</span>.*?</ul>", page, re.DOTALL)
    assert {part.count("<li") for part in returned} == {1}
    assert "`" not in text
