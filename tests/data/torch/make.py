"""Writes the files here with real PyTorch.

pip install torch==2.13.0 numpy && python make.py
"""

import argparse
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def main():
    """Writes a training checkpoint, one of before PyTorch 1.6, odd tensors."""
    weights = {
        "patch_embed.proj.weight": torch.arange(72.0).reshape(4, 2, 3, 3) / 7,
        "norm.bias": torch.arange(5.0) / 3,
        "levels.0.index": torch.arange(6).reshape(2, 3),
    }
    # As the official training script does, with an optimizer that has state.
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save(
        {
            "epoch": 309,
            "arch": "gc_vit_nano",
            "state_dict": {f"module.{k}": v for k, v in weights.items()},
            "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=5e-3, path=Path("data")),
            "metric": np.float64(83.5),
            "state_dict_ema": {f"module.{k}": -v for k, v in weights.items()},
        },
        HERE / "training.pth.tar",
    )
    torch.save(weights, HERE / "weights.pth")

    base = torch.arange(24, dtype=torch.float32) / 7
    odd = {
        **{
            str(dtype).removeprefix("torch."): base.to(dtype)
            for dtype in (
                torch.float16,
                torch.bfloat16,
                torch.float32,
                torch.float64,
                torch.int64,
            )
        },
        "transposed": base.reshape(4, 6).T,
        "strided": base[1::3],
        "shared": base[5:11].reshape(2, 3),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base[:4]),
    }
    torch.save(odd, HERE / "odd_legacy.pth", _use_new_zipfile_serialization=0)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        odd[str(dtype).removeprefix("torch.")] = base.to(dtype)
    torch.save(odd, HERE / "odd.pth")


if __name__ == "__main__":
    main()
