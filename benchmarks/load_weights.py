"""Time and memory of loading weights, each in a process of its own.

    python benchmarks/load_weights.py [--torch-python PATH]

Makes tiny and large with random weights at their real sizes, as safetensors,
as a file of torch.save and as a training checkpoint of it (`module.` prefixes
and an optimizer's two moments), serves them as a preset on the loopback, and
prints a Markdown table. Cold: the file's pages are dropped from the page
cache before. `torch.load` is run by the Python at PATH, if given.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.append(str(Path(__file__).parent.parent / "tests"))

WORKER = Path(__file__).with_name("load_weights_worker.py")


def drop_pages(path):
    """Drops a file from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(kind, variant, weights, python=sys.executable, **environment):
    """One measurement in a new process."""
    process = subprocess.run(
        [python, WORKER, kind, variant, weights],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(process.stdout.splitlines()[-1])


def make_files(folder, variant, torch_python):
    """Writes the checkpoints of a variant with random weights."""
    from conftest import pytorch_tensors
    from loopback import torch_file
    from safetensors.numpy import load_file, save_file

    from gcvit_keras.models.constructors import CONSTRUCTORS

    model = CONSTRUCTORS[variant](weights=None)
    official = folder / "official.safetensors"
    save_file(pytorch_tensors(model, "timm"), folder / f"{variant}.safetensors")
    save_file(pytorch_tensors(model, "official"), official)
    if torch_python:
        command = [torch_python, WORKER, "save", variant, folder]
        subprocess.run(command, check=True)
    else:
        tensors = load_file(folder / f"{variant}.safetensors")
        (folder / f"{variant}.pth").write_bytes(torch_file(tensors))
        tensors = load_file(official)
        moments = {f"{k}.{i}": v for k, v in tensors.items() for i in range(2)}
        state = {f"module.{key}": value for key, value in tensors.items()}
        (folder / f"gcvit_1k_{variant}.pth.tar").write_bytes(
            torch_file({"state_dict": state, "optimizer": moments})
        )


def row(title, size, cold, warm):
    """A line of the table."""
    peak = statistics.median(r["peak"] for r in cold + warm)
    imported = statistics.median(r["imported"] for r in cold + warm)

    def seconds(runs, key="load"):
        if not runs:
            return "-"
        return f"{statistics.median(r[key] for r in runs):.2f}"

    return (
        f"| {title} | {size / 1e6:.0f} | {seconds(cold)} | {seconds(warm)} "
        f"| {imported:.0f} | {peak:.0f} "
        f"| {(peak - imported) * 2**20 / size:.2f} |"
    )


def measure(variant, folder, server, torch_python, repeats):
    """Prints the lines of a variant."""
    files = [
        folder / f"{variant}.safetensors",
        folder / f"{variant}.pth",
        folder / f"gcvit_1k_{variant}.pth.tar",
    ]
    contenders = [(file.name, "ours", file, sys.executable) for file in files]
    if torch_python:
        contenders += [
            (f"{file.name}, torch.load alone", "torch", file, torch_python)
            for file in files[1:]
        ]
    runs = {title: ([], []) for title, *_ in contenders}
    for _ in range(repeats):  # interleaved
        for title, kind, file, python in contenders:
            drop_pages(file)
            runs[title][0].append(run(kind, variant, file, python))
            runs[title][1].append(run(kind, variant, file, python))
    for title, _, file, _ in contenders:
        print(row(title, file.stat().st_size, *runs[title]), flush=True)

    file = files[-1]
    server.files["/blob"] = file.read_bytes()
    server.hub[f"/nvidia/GCViT/resolve/main/{file.name}"] = "/blob"
    first, second = [], []
    for i in range(repeats):
        home = folder / f"home{i}"
        environment = {"HF_ENDPOINT": server.url, "GCVIT_HOME": str(home)}
        first.append(run("ours", variant, "nvidia", **environment))
        drop_pages(home / file.name)
        second.append(run("ours", variant, "nvidia", **environment))
    title, size = f'{variant}, weights="nvidia"', file.stat().st_size
    print(row(f"{title}, first: with the download", size, first, []))
    print(row(f"{title}, again", size, second, []), flush=True)
    build = statistics.median(r["build"] for r in first + second)
    print(f"(building {variant}, not counted above: {build:.2f} s)")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", help="a Python that has PyTorch")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    import keras
    import tensorflow as tf
    from loopback import Server

    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, Keras {keras.__version__}, TensorFlow "
        f"{tf.__version__}, medians of {arguments.repeats}\n"
    )
    print(
        "| what | file, MB | cold, s | warm, s | imports, MiB | peak, MiB "
        "| (peak - imports) / file |\n|---|---|---|---|---|---|---|"
    )
    for variant in ("tiny", "large"):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            # In a process of its own, which gives the memory back.
            process = multiprocessing.get_context("spawn").Process(
                target=make_files,
                args=(folder, variant, arguments.torch_python),
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{variant}'s files could not be made")
            measure(
                variant,
                folder,
                server,
                arguments.torch_python,
                arguments.repeats,
            )


if __name__ == "__main__":
    main()
