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
        layer, node, place = scores._keras_history
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", ()):
            end = layer.outputs[place]
            if _passes_on(end):
                scores = layer._inbound_nodes[node].input_tensors[0]
            else:
                scores = end
        elif _is_passing(layer):
            scores = layer._inbound_nodes[node].input_tensors[0]
        else:
            return layer


def _passes_on(scores):
    """Whether nothing but passing layers lies before the scores of a model."""
    while True:
        layer, node, _ = scores._keras_history
        if isinstance(layer, keras.layers.InputLayer):
            return True
        if not _is_passing(layer):
            return False
        scores = layer._inbound_nodes[node].input_tensors[0]


def _is_passing(layer):
    return isinstance(layer, _PASSING) or (
        isinstance(layer, keras.layers.Activation)
        and layer.activation is keras.activations.linear
    )
