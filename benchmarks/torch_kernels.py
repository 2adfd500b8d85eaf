"""LayerNorm and attention on Keras's PyTorch backend, by PyTorch's kernels.

    python benchmarks/torch_kernels.py [--rounds 20]

`LayerNorm` calls PyTorch's kernel there, and is compared with the operations
that it is on TensorFlow and JAX. Attention is made of operations, and compared
with `scaled_dot_product_attention` with the bias as its mask. Feature maps of
tiny's first level at 224 x 224, batch 8, float32, and tiny itself with both
kernels against both by operations: inference, and a loss with its gradients.
Interleaved rounds in one process; prints medians, and the ratios of the kernel
to the operations with their spread over the rounds.
"""

import argparse
import os
import time

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from contenders import machine, spread
from keras import ops

import gcvit_keras
from gcvit_keras.layers import LayerNorm, WindowAttention
from gcvit_keras.layers.composite import replaced


def replacing(network, kernels):
    """Gives layers kernels, or operations, for the time of a `with`."""
    methods = {}
    for layer in network._flatten_layers():
        if isinstance(layer, LayerNorm) and not kernels:
            methods[layer] = {"call": by_operations(layer)}
        elif isinstance(layer, WindowAttention) and kernels:
            methods[layer] = {"attend": by_kernel}
    return replaced(methods)


def by_operations(layer):
    """LayerNorm as on the other backends."""

    def call(x):
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(variance + layer.epsilon)
        return x * layer.gamma + layer.beta

    return call


def by_kernel(q, k, v, bias):
    """`WindowAttention.attend` in one call."""
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, scale=1.0
    )


def main():
    """Prints one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(machine(), f"Keras {keras.__version__}, PyTorch {torch.__version__}")
    x = keras.random.uniform((8, 56, 56, 64))
    images = keras.random.uniform((8, 224, 224, 3), 0, 255)
    tiny = gcvit_keras.GCViTTiny(weights=None)
    layers = {
        "LayerNorm": (LayerNorm(), x, False, rounds),
        "LayerNorm with gradient": (LayerNorm(), x, True, rounds),
        "attention": (WindowAttention(2, 7), x, False, rounds),
        "attention with gradient": (WindowAttention(2, 7), x, True, rounds),
        "tiny": (tiny, images, False, max(rounds // 4, 3)),
        "tiny with gradient": (tiny, images, True, max(rounds // 4, 3)),
    }
    for name, (layer, given, learns, repeats) in layers.items():
        layer(given)
        times = {True: [], False: []}
        for i in range(repeats + 1):
            for kernels, found in times.items():
                with replacing(layer, kernels):
                    milliseconds = timed(layer, given, learns)
                if i:  # the first one warms up
                    found.append(milliseconds)
        ratios = [a / b for a, b in zip(*times.values(), strict=True)]
        print(
            f"{name}: kernel {spread(times[True], 2)} ms, operations "
            f"{spread(times[False], 2)} ms, ratio {spread(ratios, 2)}"
        )


def timed(layer, given, learns):
    """Milliseconds of one call, with the gradients or without."""
    start = time.perf_counter()
    if learns:
        layer.zero_grad()
        ops.sum(layer(given, training=False)).backward()
    else:
        with torch.no_grad():
            layer(given, training=False)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
