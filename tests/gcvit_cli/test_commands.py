"""All commands: lists, help, and the wheel."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from command import gcvit, inside

from gcvit_cli.main import VariantName
from gcvit_keras import PRESETS, VARIANTS

ROOT = Path(__file__).parent.parent.parent


def test_list_shows_every_variant_and_the_licence(tmp_path):
    code, output, errors = gcvit("list", cwd=tmp_path)
    assert (code, errors) == (0, "")
    _, text, _ = inside("list", "--json", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(text)}
    assert list(rows) == list(VARIANTS) == [v.value for v in VariantName]
    for name, variant in VARIANTS.items():
        (line,) = [x for x in output.splitlines() if f" {name} " in x]
        for value in (f"{variant.parameters:,}", variant.top1, "BY-NC-SA"):
            assert str(value) in line
        assert rows[name]["gmacs"] == variant.gmacs


def test_list_shows_every_preset_and_the_licence(tmp_path):
    code, output, errors = gcvit("list", "--presets", cwd=tmp_path)
    assert (code, errors) == (0, "")
    _, text, _ = inside("list", "--presets", "--json", cwd=tmp_path)
    rows = json.loads(text)
    assert len(rows) == len(PRESETS)
    for row in rows:
        (line,) = [x for x in output.splitlines() if f" {row['file']} " in x]
        for key in ("variant", "name", "top1", "sha256", "crop_mode"):
            assert str(row[key]) in line
        assert row["url"].endswith(row["file"])
        assert row["licence"] == "CC BY-NC-SA 4.0"
    assert "Licence of all: CC BY-NC-SA 4.0" in output


def test_help_does_not_load_tensorflow_and_shows_examples(tmp_path):
    code = (
        "import sys; from gcvit_cli.main import main\n"
        "sys.argv = ['gcvit', *sys.argv[1:], '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    for command in (
        *([], ["quickstart"], ["train"], ["predict"], ["convert"], ["list"]),
        *(["export"], ["verify"], ["client", "predict"], ["explain"]),
    ):
        process = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        if command:
            assert "Example: gcvit" in " ".join(process.stdout.split())


def test_the_wheel_holds_what_the_commands_need(tmp_path):
    folders = {
        "gcvit_keras": "gcvit_keras",
        "training": "gcvit_training",
        "savedmodel_export": "gcvit_export",
        "gcvit_cli": "gcvit_cli",
    }
    source = tmp_path / "source"
    for folder in folders:
        shutil.copytree(
            ROOT / folder,
            source / folder,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "WEIGHTS-LICENSE.md",
    ):
        shutil.copy(ROOT / name, source / name)
    expected = {
        f"{package}/{path.relative_to(source / folder)}"
        for folder, package in folders.items()
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", source], cwd=tmp_path, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for name in ("LICENSE", "WEIGHTS-LICENSE.md"):
        assert any(h.endswith(f"dist-info/licenses/{name}") for h in held)
    assert {name for name in held if "dist-info" not in name} == expected
    # A user's own training.py, or another wheel's folder, stays what it is.
    assert all(name.startswith("gcvit_") for name in held)
    target = tmp_path / "target"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", target, wheel], check=True
    )
    code = (
        "import gcvit_keras, sys; from gcvit_cli.main import main\n"
        f"assert gcvit_keras.__file__.startswith({str(target)!r})\n"
        "sys.argv = ['gcvit', 'list', '--json']; main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
    )
    assert len(json.loads(process.stdout)) == len(VARIANTS)
