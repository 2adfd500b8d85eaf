"""The base of layers that are made of layers."""

import contextlib
import threading

import keras
from keras import ops

TURN = threading.RLock()
"""For `replaced`: two threads that export or explain one model would give its
layers back to each other in the wrong order. A run, which has layers replaced
for hours, takes no turn."""


def linear_initializer():
    """Makes initial values of dense kernels: normal, deviation 0.02.

    A new instance per layer: one shared by two layers of the same shape would
    give both the same values.
    """
    return keras.initializers.RandomNormal(stddev=0.02)


class CompositeLayer(keras.layers.Layer):
    """A layer of layers: its GELU, and which of its layers were quantized.

    `model.quantize("int8")` changes the dtype policies of inner layers. A
    composite's configuration has to carry them, or a quantized model could
    be saved but not loaded.
    """

    def gelu(self, x):
        """Computes the exact GELU; `gcvit_training.cpu` replaces the method."""
        return ops.gelu(x, approximate=False)

    def dense(self, units, name, use_bias=True):
        """Makes an inner `keras.layers.Dense`, not built yet."""
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=linear_initializer(),
            dtype=self.dtype_policy,
            name=name,
        )

    def compute_output_shape(self, inputs_shape):
        """Returns the shape of the input, as most of the layers give."""
        return inputs_shape

    def get_config(self):
        policy = policy_with_quantized(self, self.dtype_policy)
        return {
            **super().get_config(),
            "dtype": keras.dtype_policies.serialize(policy),
        }


def policy_with_quantized(layer, policy):
    """Makes the policy of a layer or model whose inner layers may be quantized.

    That is `policy`, or a `DTypePolicyMap` that gives each quantized inner
    layer its own, too.
    """
    # A private method; KerasHub's backbones use it for the same purpose.
    quantized = {
        inner.path: inner.dtype_policy
        for inner in layer._flatten_layers(include_self=False)
        if inner.quantization_mode is not None
    }
    if not quantized or isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        return policy
    by_path = keras.dtype_policies.DTypePolicyMap(policy)
    for path, inner_policy in quantized.items():
        by_path[path] = inner_policy
    return by_path


@contextlib.contextmanager
def replaced(methods):
    """Gives layers other methods, for the time of the `with`.

    `methods` is a dict from layers to dicts from names to functions.
    """
    changed = []
    try:
        for layer, functions in methods.items():
            for name, function in functions.items():
                changed.append((layer, name, vars(layer).get(name)))
                setattr(layer, name, function)
        yield
    finally:
        for layer, name, old in changed:
            if old is None:
                delattr(layer, name)
            else:
                setattr(layer, name, old)
