"""What all layers made of layers share."""

import contextlib

import keras
from keras import ops


class CompositeLayer(keras.layers.Layer):
    """A layer of layers: its GELU, and which of its layers were quantized.

    `model.quantize("int8")` changes the dtype policies of inner layers. A
    composite's configuration has to carry them, or a quantized model could
    be saved but not loaded.
    """

    def gelu(self, x):
        """Exact GELU; a method, so that training can change how."""
        return ops.gelu(x, approximate=False)

    def get_config(self):
        config = super().get_config()
        # Private, but what KerasHub's backbones use for the same purpose.
        quantized = {
            layer.path: layer.dtype_policy
            for layer in self._flatten_layers(include_self=False)
            if layer.quantization_mode is not None
        }
        policy = self.dtype_policy
        if quantized and not isinstance(
            policy, keras.dtype_policies.DTypePolicyMap
        ):
            policy = keras.dtype_policies.DTypePolicyMap(policy)
            for path, inner_policy in quantized.items():
                policy[path] = inner_policy
            config["dtype"] = keras.dtype_policies.serialize(policy)
        return config


@contextlib.contextmanager
def replaced(methods):
    """Gives layers other methods, for the time of the `with`.

    Args:
        methods: Dict from layers to dicts from names to functions.
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
