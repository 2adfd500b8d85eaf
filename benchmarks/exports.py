"""Writes GC ViT tiny, random weights, in the forms that benchmarks measure.

    python benchmarks/exports.py FOLDER [--verify] KIND [KIND ...]

KIND is `keras`, `saved`, `onnx`; a LiteRT file's `float32`, `float16`,
`dynamic` or `int8`, which is calibrated on photographs; `function`, the Keras
model in `tf.function` as a SavedModel; `bfloat16`, a SavedModel that computes
in it, which `export_saved_model` does not make; or `timm`, PyTorch's model in
ONNX, which needs torch, timm and onnx only. `--verify` checks what
`gcvit_export` writes.
"""

import argparse
import functools
from pathlib import Path

import numpy as np


@functools.cache
def build(policy):
    """Makes the Keras model, with norms and biases as trained ones have."""
    import keras

    import gcvit_keras

    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = gcvit_keras.GCViTTiny(weights=None)
    # Converters leave out ones and zeros, which no trained model has.
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, gcvit_keras.layers.LayerNorm):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
        if isinstance(layer, keras.layers.Dense) and layer.use_bias:
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
    return model


def save_function(model, path):
    """Writes a SavedModel of the Keras model in `tf.function`."""
    import tensorflow as tf

    function = tf.function(
        lambda images: {"probabilities": model(images, training=False)},
        input_signature=[tf.TensorSpec((None, 224, 224, 3), name="images")],
        autograph=False,
    ).get_concrete_function()
    module = tf.Module()
    module.variables_served = [v.value for v in model.variables]
    tf.saved_model.save(module, path / "1", signatures=function)


def save_timm(path):
    """Writes timm's model as ONNX."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model("gcvit_tiny").eval()
    for module in model.modules():  # as those of ours
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
        elif getattr(module, "bias", None) is not None:
            torch.nn.init.normal_(module.bias, std=0.2)
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, 224, 224),),
        path,
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )


def export(kind, folder, verify):
    """Writes one kind into a folder."""
    if kind == "timm":
        return save_timm(folder / "timm.onnx")
    import keras

    import gcvit_export
    from gcvit_export.fusion import fused
    from gcvit_export.samples import photographs

    if kind == "bfloat16":
        model = build("mixed_bfloat16")
        with fused(model):
            save_function(model, folder / kind)
        return keras.config.set_dtype_policy("float32")
    model = build("float32")
    if kind == "function":
        save_function(model, folder / kind)
    elif kind == "keras":
        model.save(folder / "tiny.keras")
    elif kind == "saved":
        gcvit_export.export_saved_model(model, folder / kind, verify=verify)
    elif kind == "onnx":
        gcvit_export.export_onnx(model, folder / "tiny.onnx", verify=verify)
    else:
        gcvit_export.export_litert(
            model,
            folder / f"tiny_{kind}.tflite",
            None if kind == "float32" else kind,
            photographs(224, 224, count=32) if kind == "int8" else None,
            verify=verify,
        )


def main():
    """Writes the kinds in their order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="+", metavar="KIND")
    parser.add_argument("--verify", action="store_true")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        export(kind, arguments.folder, arguments.verify)


if __name__ == "__main__":
    main()
