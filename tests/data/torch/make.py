"""Writes the .pth files here with real PyTorch.

pip install torch==2.13.0 safetensors numpy && python make.py
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "reference"


def main():
    """Writes weights alone, a training checkpoint, and odd tensors."""
    timm = load_file(REFERENCE / "timm_nano.safetensors")
    torch.save(timm, HERE / "timm_nano.pth")

    # As the official training script does, with an optimizer that has state.
    official = load_file(REFERENCE / "official_nano.safetensors")
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    torch.save(
        {
            "epoch": 309,
            "arch": "gc_vit_nano",
            "state_dict": {f"module.{k}": v for k, v in official.items()},
            "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=5e-3, path=Path("data")),
            "metric": np.float64(83.5),
            "state_dict_ema": {"module.norm.weight": torch.zeros(128)},
        },
        HERE / "official_nano.pth.tar",
    )

    base = torch.arange(24, dtype=torch.float32) / 7
    torch.save(
        {
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
        },
        HERE / "odd.pth",
    )


if __name__ == "__main__":
    main()
