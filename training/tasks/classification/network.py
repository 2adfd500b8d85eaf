"""The network of a run: new, pretrained, or with its head replaced."""

import keras
import tensorflow as tf

from gcvit_keras import GCViT
from gcvit_keras.layers import GCViTBlock
from gcvit_keras.models import structure
from gcvit_keras.models.classifier import head
from gcvit_keras.models.constructors import CONSTRUCTORS
from gcvit_training.tasks.architecture import SIZES


def build_network(config, classes, activation="softmax") -> keras.Model:
    """Builds the GC ViT that a run trains.

    Args:
        config: A `RunConfig`.
        classes: Number of classes, or of other outputs.
        activation: Activation of the head.

    Returns:
        Functional `keras.Model`: images `(batch, height, width, channels)`,
        pixels in [0, 255], to float32 probabilities `(batch, classes)`.
        Pretrained weights are in, and the layer `predictions` is new where
        their classes differ.

    Raises:
        ValueError: If the weights do not fit.
        DownloadError: If a preset cannot be downloaded.
    """
    network = _network(config, classes, activation)
    if config.model.recompute:
        for layer in network.layers:
            if isinstance(layer, GCViTBlock):
                layer.call = _recomputed(layer.call)
    return network


def _network(config, classes, activation):
    model = config.model
    shape = config.data.image_shape
    if model.is_keras_file:
        _refuse_what_is_fixed(model)
        return _with_head(model.weights, classes, activation, shape, model.name)
    arguments = {
        "input_shape": shape,
        "classes": classes,
        "classifier_activation": activation,
        "weights": model.weights,
        "drop_path_rate": model.drop_path_rate,
        "window_size": model.window_size,
        "name": model.name,
    }
    if model.variant:
        return CONSTRUCTORS[model.variant](**arguments)
    return GCViT(**model.sizes, layer_scale=model.layer_scale, **arguments)


def _refuse_what_is_fixed(model):
    """Refuses settings that a whole model's own would silently beat."""
    fixed = {
        name: value
        for name in (
            *("variant", *SIZES),
            *("layer_scale", "drop_path_rate", "window_size"),
        )
        if (value := getattr(model, name)) is not None
    }
    if fixed:
        names = ", ".join(f"`model.{name}`" for name in fixed)
        received = ", ".join(f"{k}={v!r}" for k, v in fixed.items())
        raise ValueError(
            f"{names} must be null with a .keras file as `model.weights`, "
            f"which is a whole model. Received: {received}"
        )


def _recomputed(call):
    """A block's call whose activations are computed again for the gradient.

    `keras.RematScope` of Keras 3.15 fails in graphs for layers that are
    called with keywords, as every layer in a functional model is. Drop path
    computes what it did, since its seed follows from the step.
    """

    def recomputed(inputs, query=None, training=False):
        tensors = [inputs] if query is None else [inputs, query]
        return tf.recompute_grad(
            lambda *tensors: call(*tensors, training=training)
        )(*tensors)

    return recomputed


def _with_head(path, classes, activation, shape, name):
    """A `.keras` file's network with a new head."""
    try:
        base = keras.models.load_model(path, compile=False)
        structure.blocks(base)
        pooled = structure.pooled(base)
        old = structure.head(base)
        known = old.units, keras.activations.serialize(old.activation)
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"`model.weights` is no GC ViT with a head: {path}: {reason}"
        ) from error
    known_shape = base.input_shape[1:]
    if any(a not in (None, b) for a, b in zip(known_shape, shape, strict=True)):
        raise ValueError(
            "`data.image_size` and `data.channels` must be those of "
            f"{path}, {known_shape}. Received: {shape}"
        )
    if known == (classes, activation or "linear"):
        # Not the model's output: numbers' units are those of their own data.
        scores = old.output
    else:
        scores = head(classes, activation, "float32")(pooled)
    return keras.Model(base.input, scores, name=name)
