"""The layer that a classifier's scores come from."""

import keras

_PASSING = (keras.layers.Dropout, keras.layers.Identity)
"""Layers that return their input, outside of training."""


def scoring_layer(model):
    """Finds the layer that computes the scores of a model of one output.

    It is the last one, but for dropout and linear activations after it; of a
    model within the model where that comes last.
    """
    return _source(model.outputs[0]) or model.layers[0]


def _source(scores):
    """Finds the layer, or `None` where only passing ones lead to an input."""
    while True:
        layer, node, place = scores._keras_history
        if isinstance(layer, keras.layers.InputLayer):
            return None
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", ()):
            inner = _source(layer.outputs[place])
            if inner is not None:
                return inner
        elif not isinstance(layer, _PASSING) and not (
            isinstance(layer, keras.layers.Activation)
            and layer.activation is keras.activations.linear
        ):
            return layer
        scores = layer._inbound_nodes[node].input_tensors[0]
