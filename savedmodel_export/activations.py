"""Which activation the outputs of a model still need."""

import keras
import numpy as np

from gcvit_keras import checks
from gcvit_keras.layers.composite import CompositeLayer
from gcvit_keras.models.scores import scoring_layer

ACTIVATIONS = ("softmax", "sigmoid", None)

LOGITS = {
    keras.losses.binary_crossentropy: "sigmoid",
    keras.losses.binary_focal_crossentropy: "sigmoid",
    keras.losses.categorical_crossentropy: "softmax",
    keras.losses.categorical_focal_crossentropy: "softmax",
    keras.losses.sparse_categorical_crossentropy: "softmax",
}
"""Losses of probabilities, or with `from_logits` of logits."""

VALUES = {
    keras.losses.categorical_hinge,
    keras.losses.cosine_similarity,
    keras.losses.hinge,
    keras.losses.huber,
    keras.losses.log_cosh,
    keras.losses.mean_absolute_error,
    keras.losses.mean_absolute_percentage_error,
    keras.losses.mean_squared_error,
    keras.losses.mean_squared_logarithmic_error,
    keras.losses.poisson,
    keras.losses.squared_hinge,
}
"""Losses of values that are taken as they are."""

FEATURES = (
    CompositeLayer,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.LayerNormalization,
    keras.layers.UnitNormalization,
)
"""Layers whose values are features, and no logits."""


def activation_of(model, tensor, asked, loss):
    """Tells what an output of a model means, and what it lacks for that.

    Args:
        model: A functional model.
        tensor: The output, a symbolic tensor.
        asked: `"softmax"`, `"sigmoid"`, `None`, or `"auto"`.
        loss: Loss that the output is compiled with, or `None`.

    Returns:
        Pair: what the served values are, `"softmax"`, `"sigmoid"` or `None`
        for no probabilities; and the activation to add, or `None`.

    Raises:
        ValueError: If nothing tells, or things contradict each other.
    """
    checks.one_of("activation", asked, (*ACTIVATIONS, "auto"))
    has = _last_activation(tensor, model)
    if has in ("softmax", "sigmoid"):
        if asked not in (has, None, "auto"):
            raise ValueError(
                f"`activation` must be {has!r} or None for an output that "
                f"ends in it. Received: activation={asked!r}"
            )
        return has, None
    if asked == "auto":
        meaning, added = _told(tensor, has, loss)
    else:
        meaning = added = asked
    if added == "softmax" and tensor.shape[-1] == 1:
        raise ValueError(
            "`model` must give a score per class for a softmax. Received: one "
            'logit; use activation="sigmoid", or two classes'
        )
    return meaning, added


def _last_activation(tensor, model):
    """Name of an output's activation; "features", or "unknown"."""
    layer = scoring_layer(keras.Model(model.inputs, tensor))
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    if activation is not None:
        return activation.__name__
    features = len(tensor.shape) == 4 or isinstance(layer, FEATURES)
    return "features" if features else "unknown"


def _told(tensor, has, loss):
    """Reads the last layer and the loss."""
    function = _function(loss)
    if function in LOGITS:
        kind = LOGITS[function]
        if getattr(loss, "_fn_kwargs", {}).get("from_logits"):
            return kind, kind
        if has == "unknown":  # a layer of the user's own
            return kind, None
    elif function in VALUES or has not in ("linear", "unknown"):
        return None, None
    told = "no loss" if loss is None else f"the loss {_name(loss)}"
    raise ValueError(
        "`activation` must be given, 'softmax', 'sigmoid' or None, for the "
        f"output {tensor.name}: its last layer has no activation that tells "
        f"what its values mean, and the model is compiled with {told}"
    )


def _function(loss):
    """Keras's function of a loss, or the loss itself."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    return getattr(loss, "fn", loss)


def _name(loss):
    if isinstance(loss, str):
        return loss
    name = getattr(loss, "__name__", type(loss).__name__)
    return (
        f"{name} without `from_logits`" if _function(loss) in LOGITS else name
    )


def applied(activation, values) -> np.ndarray:
    """Applies `"softmax"`, `"sigmoid"` or `None` to the last axis, in float64.

    By numpy: nothing of what is exported takes part in what is expected.
    """
    if activation is None:
        return np.asarray(values)
    values = np.asarray(values, "float64")
    if activation == "sigmoid":
        # By tanh, which does not overflow.
        return 0.5 * (1 + np.tanh(0.5 * values))
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
