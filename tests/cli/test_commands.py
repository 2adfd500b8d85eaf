"""All commands: lists, help, and the wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command import gcvit, inside

import gcvit_keras
from gcvit_cli.console import error_line
from gcvit_cli.options import VariantName
from gcvit_keras import PRESETS, VARIANTS

ROOT = Path(__file__).parent.parent.parent
CELL = r"[^│\s]+"  # a word in a table


def test_list_shows_every_variant_and_the_licence(tmp_path):
    code, output, errors = inside("list", cwd=tmp_path)
    assert (code, errors) == (0, "")
    _, text, _ = inside("list", "--json", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(text)}
    assert list(rows) == list(VARIANTS) == [v.value for v in VariantName]
    for name, variant in VARIANTS.items():
        (line,) = [x for x in output.splitlines() if f" {name} " in x]
        for value in (f"{variant.parameters:,}", variant.top1, "BY-NC-SA"):
            assert str(value) in line
        assert rows[name]["gmacs"] == variant.gmacs


def test_list_shows_every_preset_in_80_columns(tmp_path):
    code, output, errors = inside("list", "--presets", cwd=tmp_path, COLUMNS=80)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    _, text, _ = inside("list", "--presets", "--json", cwd=tmp_path)
    rows = json.loads(text)
    assert len(rows) == len(PRESETS)
    for row in rows:
        windows = " ".join(map(str, row["window_size"]))
        words = [row["variant"], row["name"], str(row["top1"])]
        words += [str(row["resolution"]), windows]
        (line,) = [x for x in lines if re.findall(CELL, x)[:2] == words[:2]]
        assert all(word in line for word in words)
        assert row["url"].endswith(row["file"])
        assert row["licence"] == "CC BY-NC-SA 4.0"
    assert "Licence of all: CC BY-NC-SA 4.0" in output


COMMANDS = (
    *("quickstart", "train", "evaluate", "list", "predict", "convert"),
    *("export", "verify", "explain"),
    *("client predict", "client status"),
)
HEAVY = {"tensorflow", "keras", "torch", "numpy", "sklearn", "matplotlib"}


def test_help_shows_every_command(tmp_path):
    code, output, errors = inside("--help", cwd=tmp_path)
    assert (code, errors) == (0, "")
    shown = set(re.findall(r"^│ (\w+) ", output, re.MULTILINE))
    assert shown == {command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy_and_ends_with_an_example(command, tmp_path):
    code = (
        "import sys; from gcvit_cli.main import main\n"
        "sys.argv = ['gcvit', *sys.argv[1:], '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    if command:
        words = " ".join(process.stdout.split())
        assert f"Example: gcvit {command}" in words


def test_version_is_that_of_the_package(tmp_path):
    expected = (0, f"gcvit-keras {gcvit_keras.__version__}\n", "")
    assert gcvit("--version", cwd=tmp_path) == expected


def test_the_package_is_a_command_too(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "gcvit_cli", "list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert len(json.loads(process.stdout)) == len(VARIANTS), process.stderr


def test_a_shell_completes_commands_and_options(tmp_path):
    """What `--install-completion` writes into a bash of its own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = """
    gcvit --install-completion > /dev/null
    source ~/.bashrc
    for words in "pre" "predict --crop"; do
        COMP_WORDS=(gcvit $words) COMP_CWORD=$(wc -w <<< "$words")
        _gcvit_completion gcvit
        echo "${COMPREPLY[@]}"
    done"""
    process = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PATH": path},
    )
    assert process.stdout.split() == ["predict", "--crop-ratio"], process.stderr


@pytest.mark.parametrize("command", ["predict", "evaluate", "export --out x"])
@pytest.mark.parametrize("ratio", ["0", "1.5", "nan"])
def test_a_crop_ratio_out_of_range_is_refused(command, ratio, tmp_path):
    if command.startswith("export"):
        command = f"{command} --format serving"
    code, output, errors = inside(
        *command.split(), "x", "--crop-ratio", ratio, cwd=tmp_path
    )
    assert (code, output) == (2, "")
    assert "--crop-ratio" in errors and "is not in (0, 1]" in errors


@pytest.mark.parametrize(
    "message, line",
    [
        ("no such file\nadvice", "no such file"),
        ('in user code:\n\n  File "a.py", line 3\n\n  too long\n', "too long"),
        ("", "no message"),
    ],
)
def test_an_error_is_the_line_that_says_what_happened(capsys, message, line):
    error_line(message)
    assert capsys.readouterr().err == f"error: {line}\n"


def test_usage_errors_exit_with_2_and_bad_input_with_1(tmp_path):
    for code, *command in (
        (2, "predict"),
        (2, "predict", "x.png", "--tpo", "1"),
        (2, "no-command"),
        (2, "predict", "x.png", "--model", "m", "--variant", "tiny"),
        (1, "predict", "x.png", "--model", "missing.keras"),
    ):
        assert inside(*command, cwd=tmp_path)[0] == code, command


@pytest.mark.slow
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
