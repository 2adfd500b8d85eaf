"""Writes what timm computes with windows that are not square.

pip install timm && python timm_rectangular.py

The weights are those of timm_nano.safetensors, but for the position tables:
on images of 64 x 96 timm's windows are (2, 3), (2, 3), (4, 6) and (2, 3).
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from timm.models.gcvit import GlobalContextVit

FOLDER = Path(__file__).parent


def main():
    """Writes image, tables and logits to timm_rectangular.npz."""
    torch.manual_seed(18)
    model = GlobalContextVit(
        num_classes=10,
        img_size=(64, 96),
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        mlp_ratio=3,
    ).eval()
    state = load_file(FOLDER / "timm_nano.safetensors")
    tables = {
        key: torch.randn_like(value)
        for key, value in model.state_dict().items()
        if key.endswith("relative_position_bias_table")
    }
    model.load_state_dict(state | tables)
    image = torch.randn(2, 3, 64, 96).half().float()
    with torch.inference_mode():
        logits = model(image)
    arrays = {key: value.numpy() for key, value in tables.items()}
    arrays["image"] = image.permute(0, 2, 3, 1).numpy().astype("float16")
    arrays["logits"] = logits.numpy()
    np.savez_compressed(FOLDER / "timm_rectangular.npz", **arrays)


if __name__ == "__main__":
    main()
