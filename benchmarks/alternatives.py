"""What GC ViT libraries for TensorFlow do in this environment.

    python benchmarks/alternatives.py

Installs each peer without its dependencies into a folder of its own, tries
the smallest variant in a process of its own, random weights, and prints a
Markdown table. A check fails when it raises or computes something else.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from contenders import install

WORKER = Path(__file__).with_name("alternatives_worker.py")
MATPLOTLIB = (
    "matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil"
)
CONTENDERS = (
    # package and version, what it needs beside TensorFlow and Keras
    ("gcvit-keras", None, ""),
    ("gcvit", "1.1.6", MATPLOTLIB),
    ("keras-cv-attention-models", "1.4.3", ""),
    (
        "gcvit-tensorflow",
        "1.2.1",
        "tensorflow-addons==0.23.0 typeguard==2.13.3",
    ),
    ("tfgcvit", "2.0.4", ""),
)


def probe(package, version, needs):
    """Results of one contender, check by check."""
    with tempfile.TemporaryDirectory() as folder:
        if version:
            install(folder, f"{package}=={version}", *needs.split())
        process = subprocess.run(
            [sys.executable, WORKER, package],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": folder,
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
        )
    for line in process.stdout.splitlines():
        if line.startswith("RESULTS"):
            return json.loads(line.removeprefix("RESULTS"))
    raise RuntimeError(f"{package}: {process.stderr[-500:]}")


def main():
    """Prints the table, and under it why each check failed."""
    found = {}
    for package, version, needs in CONTENDERS:
        title = f"{package} {version}" if version else package
        found[title] = probe(package, version, needs)
    checks = next(iter(found.values()))
    print(f"| | {' | '.join(found)} |")
    print("|---" * (len(found) + 1) + "|")
    for check in checks:
        cells = [r.get(check, "-").split(":")[0] for r in found.values()]
        print(f"| {check} | {' | '.join(cells)} |")
    print()
    for title, results in found.items():
        for check, result in results.items():
            if result != "yes":
                print(f"{title}, {check}: {result[4:160]}")
    versions = ", ".join(
        f"{p} {importlib.metadata.version(p)}" for p in ("keras", "tensorflow")
    )
    print(f"\nPython {platform.python_version()}, {versions}")


if __name__ == "__main__":
    main()
