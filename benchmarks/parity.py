"""How far our models lie from the PyTorch references, and both from float64.

    python benchmarks/parity.py

The references are float32. Where they lie as far from the same network in
float64 as ours do in float32, what is left is rounding.
"""

from pathlib import Path

import keras
import numpy as np

from gcvit_keras import GCViT

REFERENCE = Path(__file__).parent.parent / "tests" / "data" / "reference"
CASES = (
    ("official_nano", 1, None),
    ("timm_nano", 8, None),
    ("timm_nano_layerscale", 8, 1e-5),
)


def outputs(name, se_divisor, layer_scale, dtype):
    """Every level, query and the logits of one reference's model."""
    keras.config.set_dtype_policy(dtype)
    model = GCViT(
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        mlp_ratio=3,
        layer_scale=layer_scale,
        se_divisor=se_divisor,
        classes=10,
        include_preprocessing=False,
        classifier_activation=None,
        weights=REFERENCE / f"{name}.safetensors",
    )
    wanted = {"logits": model.output}
    for i in range(4):
        wanted[f"level{i}"] = model.get_layer(f"level_{i}_block_1").output
        wanted[f"query{i}"] = model.get_layer(f"level_{i}_query").output
    # Of all references: kept once.
    images = np.load(REFERENCE / "official_nano_io.npz")["image"].astype(dtype)
    computed = keras.Model(model.input, wanted)(images)
    return {key: np.asarray(value) for key, value in computed.items()}


def main():
    """Prints one line an output."""
    print("largest differences, and the largest value of each output")
    print(f"{'':37}ours-reference  reference-float64  ours-float64  value")
    for name, se_divisor, layer_scale in CASES:
        ours = outputs(name, se_divisor, layer_scale, "float32")
        exact = outputs(name, se_divisor, layer_scale, "float64")
        reference = np.load(REFERENCE / f"{name}_io.npz")
        for key in sorted(ours.keys() & {*reference}):
            expected = reference[key]
            print(
                f"{name:26} {key:8}"
                f"{np.abs(ours[key] - expected).max():16.1e}"
                f"{np.abs(expected - exact[key]).max():19.1e}"
                f"{np.abs(ours[key] - exact[key]).max():14.1e}"
                f"{np.abs(expected).max():7.1f}"
            )


if __name__ == "__main__":
    main()
