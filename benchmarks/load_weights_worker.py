"""Loads weights, or writes them, in a process for benchmarks/load_weights.py.

python load_weights_worker.py {ours,torch} VARIANT WEIGHTS
python load_weights_worker.py save VARIANT FOLDER

The first prints JSON: the seconds of building and of loading, and MiB after the
import and at most. `torch` and `save` need torch and safetensors only.
"""

import json
import sys
import time
from pathlib import Path

from worker import peak


def ours(variant, weights):
    """Loads a file, or a preset by its name, into a model."""
    import gcvit_keras
    from gcvit_keras.models.constructors import CONSTRUCTORS

    imported = peak()
    start = time.perf_counter()
    model = CONSTRUCTORS[variant](weights=None)
    built = time.perf_counter()
    if "." not in weights:
        weights = gcvit_keras.find_preset(variant, weights)
    gcvit_keras.load_weights(model, weights)
    return built - start, time.perf_counter() - built, imported


def torch(variant, weights):
    """Loads a file by `torch.load` alone."""
    import torch

    imported = peak()
    start = time.perf_counter()
    tensors = torch.load(weights, map_location="cpu", weights_only=True)
    seconds = time.perf_counter() - start
    del tensors  # kept until here
    return 0.0, seconds, imported


def save(variant, folder):
    """Writes a variant's safetensors as torch.save and as a checkpoint do."""
    import torch
    from safetensors.torch import load_file

    folder = Path(folder)
    tensors = load_file(folder / f"{variant}.safetensors")
    torch.save(tensors, folder / f"{variant}.pth")
    tensors = load_file(folder / "official.safetensors")
    moments = {
        i: {"exp_avg": t.clone(), "exp_avg_sq": t.clone()}
        for i, t in enumerate(tensors.values())
    }
    state = {f"module.{key}": tensor for key, tensor in tensors.items()}
    torch.save(
        {"state_dict": state, "optimizer": {"state": moments}},
        folder / f"gcvit_1k_{variant}.pth.tar",
    )


def main():
    """Writes, or prints a measurement."""
    kind, variant, path = sys.argv[1:]
    if kind == "save":
        return save(variant, path)
    build, load, imported = {"ours": ours, "torch": torch}[kind](variant, path)
    figures = {"build": build, "load": load}
    print(json.dumps(figures | {"peak": peak(), "imported": imported}))


if __name__ == "__main__":
    main()
