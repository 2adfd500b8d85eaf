"""Functional models: what they give, what it means, and copies of them."""

import keras

from gcvit_export.activations import activation_of
from gcvit_export.kinds.base import AUTO, is_quantized
from gcvit_keras import feature_pyramid
from gcvit_keras.models import structure


def own_outputs(model):
    """Outputs by their keys, or by the layers that compute them."""
    if isinstance(model.output, dict):
        return dict(model.output)
    names = model.output_names
    if len(set(names)) < len(names):
        raise ValueError(
            "`model` must have outputs of different names: make it return a "
            f"dict. Received: outputs {names}"
        )
    return dict(zip(names, model.outputs, strict=True))


def told(model, activation=AUTO):
    """Tells what the outputs of a model mean, and what they lack for that.

    Returns two lists, in the order of the outputs; see `activation_of`. Raises
    a `ValueError` if the model does not take images, or nothing tells.
    """
    entries = functional(model)
    pairs = [
        activation_of(
            entries,
            tensor,
            activation.get(name, AUTO)
            if isinstance(activation, dict)
            else activation,
            _loss(model, place, name),
        )
        for place, (name, tensor) in enumerate(own_outputs(entries).items())
    ]
    meanings, added = (list(x) for x in zip(*pairs, strict=True))
    return meanings, added


def functional(model):
    """Returns the model as a functional one, checked."""
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    entry = getattr(model, "input", None)
    if (
        not keras.utils.is_keras_tensor(entry)
        or len(entry.shape) != 4
        or any(len(tensor.shape) < 2 for tensor in model.outputs)
    ):
        raise ValueError(
            "`model` must be a functional or Sequential model, built, from "
            "images (batch, height, width, channels) to one or several "
            f"outputs. Received: {type(model).__name__} from "
            f"{getattr(entry, 'shape', None)}"
        )
    return model


def feature_maps(model):
    """The pyramid, and the mean over the normalised last map."""
    last_map = structure.last_map(model)
    pooled = keras.layers.GlobalAveragePooling2D()(last_map)
    return {**feature_pyramid(model).output, "pooled": pooled}


def _loss(model, place, name):
    """The loss that an output is compiled with, or `None`."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict):
        return loss.get(name)
    if isinstance(loss, (list, tuple)):
        return loss[place]
    return loss


def of_any_size(network):
    """Makes a model on the same layers that takes images of any size.

    Raises a `ValueError` if it has not the levels of a GC ViT.
    """
    if not structure.has_levels(network):
        raise ValueError(
            "`dynamic_size` needs a model that has the levels of a GC ViT as "
            f"its own layers. Received: {network.name} without"
        )
    images = keras.Input((None, None, network.input_shape[-1]), name="images")
    return keras.models.clone_model(
        network, images, clone_function=lambda layer: layer
    )


def in_float32(model):
    """Makes a copy of a model that computes in float32, with its weights.

    Raises a `ValueError` if it is quantized.
    """
    if is_quantized(model):
        raise ValueError(
            "`model` must not be quantized and compute in half precision. "
            "Received: one that does both; export it as it was before "
            "`quantize`"
        )

    def rebuild(layer):
        config = {**layer.get_config(), "dtype": "float32"}
        return type(layer).from_config(config)

    copy = keras.models.clone_model(
        model, clone_function=rebuild, recursive=True
    )
    copy.set_weights(model.get_weights())
    return copy
