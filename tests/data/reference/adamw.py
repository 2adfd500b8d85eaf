"""Records twenty steps of PyTorch's AdamW, with timm's parameter groups.

Writes `adamw.npz` beside itself: the names, first and last values of eight
parameters of a GC ViT with layer scales of 1e-5, and the gradients of each
step, of which some are near epsilon. Needs PyTorch:

    python tests/data/reference/adamw.py
"""

from pathlib import Path

import numpy as np
import torch

STEPS, RATE, DECAY, NORM = 20, 2e-3, 0.1, 0.7
SHAPES = {
    "stem/conv/kernel": (3, 3, 3, 8),
    "stem/conv/bias": (8,),
    "level_0_block_0/gamma1": (8,),
    "level_0_block_0/attention/relative_position_bias_table": (25, 2),
    "level_0_block_0/attention/qkv/kernel": (8, 24),
    "level_0_block_0/norm1/beta": (8,),
    "level_0_block_0/mlp/fc1/kernel": (8, 16),
    "predictions/kernel": (8, 10),
}


def main():
    """Runs PyTorch and writes the file."""
    rng = np.random.default_rng(7)
    first = {
        name: 1e-5 * np.ones(shape)
        if "gamma" in name
        else rng.normal(0, 0.05, shape)
        for name, shape in SHAPES.items()
    }
    parameters = {
        name: torch.nn.Parameter(torch.tensor(value, dtype=torch.float32))
        for name, value in first.items()
    }
    # timm's `param_groups_weight_decay`, with GC ViT's `no_weight_decay`.
    groups = {0.0: [], DECAY: []}
    for name, parameter in parameters.items():
        plain = parameter.ndim <= 1 or "relative_position" in name
        groups[0.0 if plain else DECAY].append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": p, "weight_decay": w} for w, p in groups.items()], RATE
    )
    arrays = {}
    for step in range(STEPS):
        for name, parameter in parameters.items():
            scale = 1e-8 if "gamma" in name else 10.0 ** rng.uniform(-6, 0)
            gradient = scale * rng.normal(size=parameter.shape)
            arrays[f"gradient {step} {name}"] = np.float32(gradient)
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        torch.nn.utils.clip_grad_norm_(parameters.values(), NORM)
        optimizer.step()
    for name, parameter in parameters.items():
        arrays[f"first {name}"] = np.float32(first[name])
        arrays[f"last {name}"] = parameter.detach().numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
