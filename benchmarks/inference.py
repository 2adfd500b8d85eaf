"""Time and memory of one image through GC ViT tiny, as exported and by peers.

    python benchmarks/inference.py [--torch-python PATH] [--out inference.json]

Random weights, float32 unless said, 224 x 224 x 3, 1000 classes, all cores.
The exports are made and verified first, but for the SavedModel in bfloat16,
which `export_saved_model` does not make; int8 is calibrated on photographs.
Each contender is a process of its own, idle while another is measured, and
their rounds are interleaved. A call takes a batch of 1 or of 8; LiteRT files
take one image. timm is run by the Python at PATH (default: this one), in eager
PyTorch and, exported by it, in ONNX Runtime. Prints a Markdown table: the
median over all calls, and the most memory that the process had.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from alternatives import MATPLOTLIB
from contenders import Contender, install, machine, measure, print_versions
from inference_worker import CONTENDERS

BATCHES = (1, 8)

HERE = Path(__file__).parent
EXPORTS = "bfloat16 keras saved onnx float32 float16 dynamic int8".split()
PACKAGES = {
    "gcvit": ("gcvit==1.1.6", *MATPLOTLIB.split()),
    "keras-cv-attention-models": ("keras-cv-attention-models==1.4.3", "ftfy"),
    "timm in OpenVINO": ("openvino==2026.4.0", "openvino-telemetry"),
}
"""What contenders need in folders of their own, by how titles begin."""


def export(python, *arguments):
    """Runs exports.py; raises `RuntimeError`, its last line, if it fails."""
    process = subprocess.run(
        [python, HERE / "exports.py", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
    )
    if process.returncode:
        raise RuntimeError(process.stderr.strip().splitlines()[-1])


def measure_calls(arguments, folder):
    """Results by contender; of one that did not run, why."""
    export(sys.executable, folder, "--verify", *EXPORTS)

    def start(title):
        path, python, batches = None, sys.executable, BATCHES
        if title.startswith("timm, eager"):
            python = arguments.torch_python
        elif title == "timm in ONNX Runtime":
            export(arguments.torch_python, folder, "timm")
        elif title.startswith("LiteRT"):
            batches = BATCHES[:1]
        for beginning, packages in PACKAGES.items():
            if title.startswith(beginning):
                path = f"{folder}/{beginning}"
                if not os.path.isdir(path):
                    install(path, *packages)
        cores = len(os.sched_getaffinity(0))
        return Contender(
            HERE / "inference_worker.py",
            python,
            path,
            (title, folder, arguments.calls, cores, *batches),
        )

    results = measure(CONTENDERS, start, arguments.rounds)
    for result in results.values():
        if "failed" not in result:
            result["milliseconds"] = {
                batch: 1000
                * statistics.median(sum((r[batch] for r in rounds), []))
                / int(batch)
                for rounds in [result["rounds"]]
                for batch in rounds[0]
            }
    return results


def print_table(results):
    """Prints the table, and under it the versions and what failed."""
    peer = results["timm in ONNX Runtime"].get("milliseconds", {})
    heads = [f"batch {b}, ms an image" for b in BATCHES]
    ratios = [f"batch {b}, this / timm in ONNX Runtime" for b in BATCHES]
    print("| | " + " | ".join(heads + ratios) + " | peak, MiB |")
    print("|---" * 6 + "|")
    for title, result in results.items():
        if "failed" in result:
            print(f"| {title} |" + " - |" * 5)
            continue
        cells = []
        found = result["milliseconds"]
        for batch in map(str, BATCHES):
            cells.append(f"{found[batch]:.1f}" if batch in found else "-")
        for batch in map(str, BATCHES):
            both = batch in found and batch in peer
            cells.append(f"{found[batch] / peer[batch]:.2f}" if both else "-")
        cells.append(f"{result['peak_mib']:.0f}")
        print(f"| {title} | {' | '.join(cells)} |")
    print()
    print_versions(results)


def make_parser(description):
    """Reads the command line; `compare.py` adds to it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python that has PyTorch, timm and onnx",
    )
    parser.add_argument("--calls", type=int, default=10, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="a JSON file to write")
    return parser


def main():
    """Prints the table; writes it as JSON."""
    arguments = make_parser(__doc__).parse_args()
    facts = machine() | {"calls": arguments.calls}
    with tempfile.TemporaryDirectory() as folder:
        results = measure_calls(arguments, folder)
        exported = {
            path.name.removesuffix(".verification.json"): json.loads(
                path.read_text()
            )
            for path in Path(folder).rglob("*verification.json")
        }
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, "
        f"{arguments.rounds} rounds of {arguments.calls} calls\n"
    )
    print_table(results)
    print()
    print("| export | largest difference | logits, signal to noise | size |")
    print("|---" * 4 + "|")
    for found in sorted(exported.values(), key=lambda f: -f["snr_db"]):
        print(
            f"| {found['kind']} | {found['difference']:.1e} "
            f"| {found['snr_db']:.1f} dB | {found['size'] / 1e6:.1f} MB |"
        )
    if arguments.out:
        Path(arguments.out).write_text(
            json.dumps(
                {**facts, "contenders": results, "exports": exported}, indent=1
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
