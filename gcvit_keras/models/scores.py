"""Where a classifier's scores come from."""

import keras

_PASSING = (keras.layers.Dropout, keras.layers.Identity)
"""Layers that give what they are given, outside of training."""


def scoring_layer(model):
    """The layer that computes a model's scores.

    Args:
        model: A functional or Sequential model of one output.

    Returns:
        `keras.Layer`: the last one, but for dropout and linear activations
        after it; of a model within the model where that comes last.
    """
    scores = model.outputs[0]
    while True:
        layer, node, _ = scores._keras_history
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", ()):
            scores = layer.outputs[0]
        elif isinstance(layer, _PASSING) or (
            isinstance(layer, keras.layers.Activation)
            and layer.activation is keras.activations.linear
        ):
            scores = layer._inbound_nodes[node].input_tensors[0]
        else:
            return layer
