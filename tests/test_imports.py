"""What each folder may know: imports, names of layers, tasks, lines."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "gcvit_keras.variants": set(),
    "gcvit_keras.checks": set(),
    "gcvit_keras.files": set(),
    "gcvit_keras.cubic": set(),
    "gcvit_keras.layers": {"gcvit_keras.checks", "gcvit_keras.cubic"},
    "gcvit_keras.weights": {"gcvit_keras.cubic", "gcvit_keras.variants"},
    "gcvit_keras.images": {"gcvit_keras.checks", "gcvit_keras.weights"},
    "gcvit_keras.models": {
        "gcvit_keras.checks",
        "gcvit_keras.images",
        "gcvit_keras.layers",
        "gcvit_keras.weights",
        "gcvit_keras.variants",
    },
    "gcvit_keras.detection": {
        "gcvit_keras.checks",
        "gcvit_keras.images",
        "gcvit_keras.layers",
        "gcvit_keras.models",
        "gcvit_keras.weights",
        "gcvit_keras.variants",
    },
    "gcvit_keras.segmentation": {
        "gcvit_keras.checks",
        "gcvit_keras.images",
        "gcvit_keras.layers",
        "gcvit_keras.models",
        "gcvit_keras.weights",
        "gcvit_keras.variants",
    },
    "gcvit_keras.explain": {
        "gcvit_keras.checks",
        "gcvit_keras.images",
        "gcvit_keras.layers",
        "gcvit_keras.models",
    },
    "gcvit_training": {"gcvit_keras"},
    "gcvit_export": {"gcvit_keras"},
    "gcvit_cli": {"gcvit_keras", "gcvit_training", "gcvit_export"},
}
OURS = {"gcvit_keras", "gcvit_training", "gcvit_export", "gcvit_cli"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


FOLDERS = {"gcvit_training": "training", "gcvit_export": "savedmodel_export"}


def files(package):
    folder = ROOT / FOLDERS.get(package, package.replace(".", "/"))
    if folder.is_dir():
        return sorted(folder.rglob("*.py"))
    file = folder.with_suffix(".py")
    return [file] if file.exists() else []


def all_files():
    for package in sorted(OURS):
        for path in files(package):
            yield path.relative_to(ROOT).as_posix(), path


def strings(path):
    """The strings of a file that are no docstrings, also parts of f-strings."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documentation:
                yield node.value


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_arrows_point_one_way(package):
    allowed = MAY_IMPORT[package] | {package}
    for path in files(package):
        for name in imported(path):
            if name.split(".")[0] in OURS:
                assert any(
                    name == a or name.startswith(a + ".") for a in allowed
                ), f"{path.relative_to(ROOT)} imports {name}"


BEHIND_A_CHECK = {
    "gradient.py",
    "graph.py",
    "headers.py",
    "inference.py",
    "nms.py",
    "replicas.py",
    "resize.py",
    "roi_sparse.py",
    "shapes.py",
}
"""Files that may import TensorFlow."""
BEHIND_ITS_BACKEND = {"gradient.py"}
"""Files that may import what Keras computes with, whichever it is."""


def test_the_models_import_no_framework_but_behind_a_check():
    for path in files("gcvit_keras"):
        forbidden = {"jax", "torch", "tensorflow"}
        if path.name in BEHIND_A_CHECK:
            forbidden = {"jax", "torch"}
        if path.name in BEHIND_ITS_BACKEND:
            forbidden = set()
        for name in imported(path):
            assert name.split(".")[0] not in forbidden, path


def test_the_engine_knows_no_task():
    """A new task is a folder of `training/tasks`, and an entry there."""
    tasks = {p.name for p in (ROOT / "training" / "tasks").iterdir()}
    known = {"classification", "detection", "segmentation"} | {
        name for name in tasks if "." not in name and name[0] != "_"
    }
    words = re.compile("|".join(sorted(known)), re.IGNORECASE)
    for path in (ROOT / "training").glob("*.py"):
        found = words.search(path.read_text())
        assert not found, f"{path.relative_to(ROOT)} says {found}"


def test_relation_of_packages_to_this_test():
    """A new package under gcvit_keras has to be given its arrows here."""
    folders = {
        f"gcvit_keras.{path.name.removesuffix('.py')}"
        for path in (ROOT / "gcvit_keras").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert folders - {"gcvit_keras.__init__"} <= set(MAY_IMPORT)


LAYER_NAME = re.compile(
    r"level_($|\d|\\d|\(|\{)|block_(\d|\\d|\(|\{)|_downsample"
    r"|^(stem|predictions)(/|$)"
)
KNOW_LAYERS = {
    "gcvit_keras/models/structure.py",
    "gcvit_keras/weights/names.py",
}


def test_one_file_knows_the_names_of_layers():
    """But for the file that says what checkpoints call each of them."""
    for name, path in all_files():
        if name in KNOW_LAYERS:
            continue
        found = [text for text in strings(path) if LAYER_NAME.search(text)]
        assert not found, f"{name} names layers: {found}"


def test_a_file_has_at_most_400_lines():
    tests = (ROOT / "tests").rglob("*.py")
    for path in (*(path for _, path in all_files()), *tests):
        assert len(path.read_text().splitlines()) <= 400, path
